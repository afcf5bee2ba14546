package postgresql

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// oldestPostgres is the oldest major version that outboxd works with.
const oldestPostgres = 13

// postgresFolders are the folders in which Linux distributions, Homebrew and Postgres.app install the programs.
var postgresFolders = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib64/pgsql/bin", "/usr/lib/postgresql*/bin", "/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin", "/opt/homebrew/opt/postgresql/bin", "/usr/local/opt/postgresql/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin", "/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin",
}

// installation is a folder with PostgreSQL's programs.
type installation struct {
	folder  string
	major   int
	minor   int
	version string // as the program prints it, such as 15.13 or 18beta1
}

func (i installation) program(name string) string { return filepath.Join(i.folder, name) }

// findPostgres looks for PostgreSQL in the folder explicit or, if that is "", in the usual places. It returns the newest
// installation of the version major, with which the data was made. If major is 0, there is no data yet, and findPostgres
// returns the newest installation of all.
func findPostgres(explicit string, major int) (installation, error) {
	folders := []string{explicit}
	if explicit == "" {
		folders = postgresCandidates()
	}
	var found []installation
	var faults []error
	seen := map[string]bool{}
	for _, folder := range folders {
		i, err := inspectInstallation(folder)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if !seen[i.folder] {
			seen[i.folder] = true
			found = append(found, i)
		}
	}
	if explicit != "" && len(found) == 0 {
		return installation{}, fmt.Errorf("no PostgreSQL in the given folder: %w", errors.Join(faults...))
	}
	return chooseInstallation(found, major)
}

func chooseInstallation(found []installation, major int) (installation, error) {
	usable := slices.DeleteFunc(slices.Clone(found), func(i installation) bool {
		return i.major < oldestPostgres || major != 0 && i.major != major
	})
	if len(usable) > 0 {
		return slices.MaxFunc(usable, func(a, b installation) int {
			return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
		}), nil
	}
	var have []string
	for _, i := range found {
		have = append(have, i.version+" in "+i.folder)
	}
	switch {
	case major != 0 && len(have) > 0:
		return installation{}, fmt.Errorf("the data directory was made with PostgreSQL %d, and only %s is installed: %s, or choose another --data-dir",
			major, strings.Join(have, ", "), installHint(major))
	case len(have) > 0:
		return installation{}, fmt.Errorf("PostgreSQL %d or newer is needed, and only %s is installed: %s", oldestPostgres, strings.Join(have, ", "), installHint(0))
	default:
		return installation{}, fmt.Errorf("no PostgreSQL server is installed: %s, or give the URL of one with --database-url", installHint(major))
	}
}

func installHint(major int) string {
	version := ""
	if major != 0 {
		version = strconv.Itoa(major)
	}
	if runtime.GOOS == "darwin" {
		return "brew install postgresql@" + cmp.Or(version, "17")
	}
	suffix := ""
	if version != "" {
		suffix = "-" + version
	}
	return fmt.Sprintf("apt-get install postgresql%s (Debian, Ubuntu), dnf install postgresql%s-server (Fedora, RHEL), brew install postgresql@%s (Homebrew)",
		suffix, version, cmp.Or(version, "17"))
}

// postgresCandidates returns folders that may have PostgreSQL's programs.
func postgresCandidates() []string {
	var folders []string
	if program, err := exec.LookPath("postgres"); err == nil {
		folders = append(folders, filepath.Dir(program))
		// postgres in PATH is often a symlink. The folder that it points to also has initdb, which PATH may lack.
		if program, err = filepath.EvalSymlinks(program); err == nil {
			folders = append(folders, filepath.Dir(program))
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil { //nolint:noctx // it only prints
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	for _, pattern := range postgresFolders {
		matches, _ := filepath.Glob(pattern) // the patterns are well formed
		folders = append(folders, matches...)
	}
	return folders
}

// inspectInstallation returns the PostgreSQL installation in a folder, or an error if the installation cannot be used.
func inspectInstallation(folder string) (installation, error) {
	for _, name := range []string{"postgres", "initdb"} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			return installation{}, err
		}
		if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
			return installation{}, fmt.Errorf("%s is not a program", filepath.Join(folder, name))
		}
	}
	// The server finds its libraries relative to its real path, so resolve
	// links.
	server, err := filepath.EvalSymlinks(filepath.Join(folder, "postgres"))
	if err != nil {
		return installation{}, err
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(server), "initdb")); err == nil {
		folder = filepath.Dir(server)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return installation{}, err
	}
	out, err := exec.Command(server, "--version").Output() //nolint:noctx // it only prints
	if err != nil {
		return installation{}, fmt.Errorf("run %s --version: %w", server, err)
	}
	i, err := parsePostgresVersion(string(out))
	i.folder = folder
	return i, err
}

var postgresVersion = regexp.MustCompile(`PostgreSQL\)? ((\d{1,4})(?:\.(\d{1,4}))?[^\s]*)`)

// parsePostgresVersion reads lines such as "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)".
func parsePostgresVersion(line string) (installation, error) {
	parts := postgresVersion.FindStringSubmatch(line)
	if parts == nil {
		return installation{}, fmt.Errorf("no version of PostgreSQL in %q", line)
	}
	major, _ := strconv.Atoi(parts[2])
	minor, _ := strconv.Atoi(parts[3]) // absent in pre-releases
	return installation{major: major, minor: minor, version: parts[1]}, nil
}
