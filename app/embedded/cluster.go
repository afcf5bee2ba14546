package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// dataVersion is the major version that a PostgreSQL data directory was made with, 0 if there is none yet.
func dataVersion(data string) (int, error) {
	entries, err := os.ReadDir(data)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read PostgreSQL's data directory: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return 0, fmt.Errorf("%s is not empty and holds no PostgreSQL data (move it away, or choose another --data-dir; nothing was changed): %w", data, err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || major < 1 {
		return 0, fmt.Errorf("%s is broken: its PG_VERSION is %q (restore it, move it away, or choose another --data-dir; nothing was changed)", data, firstBytes(text, 20))
	}
	return major, nil
}

// HasPostgres tells whether a PostgreSQL has ever been started in a data directory. It changes nothing.
func HasPostgres(dataDir string) bool {
	_, err := os.Stat(filepath.Join(dataDir, "postgres"))
	return !errors.Is(err, fs.ErrNotExist)
}

// initialise makes a new data directory. It appears under its name only when it is complete, so that a crash in between leaves nothing
// that looks like data; what an earlier crash left under the other name was never used and is removed.
func (p *postgres) initialise(ctx context.Context, bin installation, data string, log *logfile, held *os.File) error {
	unfinished := data + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("remove unfinished data directory: %w", err)
	}
	if err := p.folder.private(unfinished); err != nil {
		return err
	}
	// Trust is for those who get through the socket folder's mode; nothing is ever accepted over TCP.
	args := []string{"-D", unfinished, "-U", databaseName, "-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject", "--no-sync"}
	c, err := spawn(command{
		program: bin.program("initdb"), args: args, env: postgresEnvironment(),
		output: log.file, held: held, death: syscall.SIGINT, account: p.folder.account,
	})
	if err != nil {
		return err
	}
	select {
	case <-c.ended():
	case <-ctx.Done():
		c.stopSoon(syscall.SIGINT)
		return fmt.Errorf("make PostgreSQL data directory: %w", ctx.Err())
	}
	if c.Err() != nil {
		return log.explain(fmt.Errorf("make PostgreSQL data directory with %s: %w", bin.program("initdb"), c.Err()))
	}
	if !p.options.Ephemeral {
		if err := syncTree(unfinished); err != nil {
			return fmt.Errorf("make PostgreSQL data directory: %w", err)
		}
	}
	if err := os.Rename(unfinished, data); err != nil {
		return fmt.Errorf("make PostgreSQL data directory: %w", err)
	}
	if !p.options.Ephemeral {
		if err := syncFile(filepath.Dir(data)); err != nil {
			return fmt.Errorf("make PostgreSQL data directory: %w", err)
		}
	}
	return nil
}

// syncTree brings a folder and all in it to the disk. Many at a time share the file system's commits: measured, the thousand files
// of a new data directory take 0.15 to 0.35 s, and 1.7 to 2.4 s when initdb does it one after another.
func syncTree(root string) error {
	var all errgroup.Group
	all.SetLimit(64)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			all.Go(func() error { return syncFile(path) })
		}
		return err
	})
	return errors.Join(err, all.Wait())
}

func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// removeStale removes a lock file of PostgreSQL's that would stop the start for nothing. The caller holds the data directory's lock.
// PostgreSQL itself overcomes a file whose process is gone, and checks more than this could; it is helpless where the
// number now belongs to another program, or to a dead process that nobody has reaped, as happens in containers.
func removeStale(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read PostgreSQL's lock file: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	// A negative number stands for a single-user server.
	if pid = max(pid, -pid); err == nil && pid > 0 {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return nil
		}
		if program := programOf(pid); strings.HasPrefix(program, "postgres") || strings.HasPrefix(program, "postmaster") {
			return fmt.Errorf("%s says that PostgreSQL runs as process %d, and outboxd did not start it: stop it, or use it with --database-url", path, pid)
		}
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale lock file: %w", err)
	}
	return nil
}

func firstBytes(text []byte, n int) []byte { return text[:min(len(text), n)] }
