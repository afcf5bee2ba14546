// Command dist makes the files of a release: archives of the binary for each
// platform, packages for Debian and for RPM, an OCI image for two architectures, a
// list of modules and licences (SBOM), and checksums. make dist calls this command,
// which needs neither a Docker engine nor root.
//
// The same commit and the same Go give the same bytes: all times are the time of the commit, all
// lists are sorted, and no file contains the name of the machine. This command is a
// module of its own, so that outboxd's go.mod does not list modules that only
// packaging needs.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// release has the data that all steps of making a release share.
type release struct {
	root    string    // of the source tree
	out     string    // where the files of the release go
	work    string    // a temporary folder for all other files
	version string    // as git describes it, such as v1.2.3-4-gabcdef0
	commit  string    // in full
	time    time.Time // of the commit
	sbom    string    // the program cyclonedx-gomod
	only    string    // the one platform, such as linux/amd64; empty: all
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("dist: ")
	var r release
	var date string
	flag.StringVar(&r.root, "root", "../..", "the source tree")
	flag.StringVar(&r.out, "out", "", "where the results go")
	flag.StringVar(&r.version, "version", "dev", "the version")
	flag.StringVar(&r.commit, "commit", "unknown", "the commit")
	flag.StringVar(&date, "date", "", "the time of the commit, as RFC 3339 has it")
	flag.StringVar(&r.sbom, "sbom", "cyclonedx-gomod", "the program that lists what is in the binary")
	flag.StringVar(&r.only, "only", "", "the one platform to make, such as linux/amd64, for a quick look; empty for all")
	flag.Parse()
	var err error
	if r.time, err = time.Parse(time.RFC3339, date); err != nil {
		log.Fatalf("the time of the commit: %v", err)
	}
	r.time = r.time.UTC()
	if err := r.make(); err != nil {
		log.Fatal(err)
	}
}

// make makes all files of the release, from the binaries to the checksums.
func (r *release) make() (err error) {
	for _, path := range []*string{&r.root, &r.out, &r.sbom} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "outboxd-dist"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(r.work) }()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"binaries", r.buildAll},
		{"extras", r.makeExtras},
		{"archives", r.archiveAll},
		{"packages", r.packageAll},
		{"image", r.makeImage},
		{"list of parts", r.listParts},
		{"checksums", r.sum},
	} {
		begun := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		log.Printf("%s, %v", step.what, time.Since(begun).Round(time.Millisecond))
	}
	return nil
}

// command returns a command in the source tree. The command gets the environment of this
// process and the variables of environ, which take precedence.
func (r *release) command(environ []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), environ...)
	cmd.Stderr = os.Stderr
	return cmd
}
