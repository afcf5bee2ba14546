package embedded_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"outboxd/app/embedded"
)

func stopProcess(pid int) error     { return syscall.Kill(pid, syscall.SIGSTOP) }
func continueProcess(pid int) error { return syscall.Kill(pid, syscall.SIGCONT) }

// locked reports whether a process has begun to start PostgreSQL on a data directory.
func locked(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "postgres.owner"))
	return err == nil && len(text) > 0
}

// TestBrokenData breaks data directories in several ways. For each, Start must return one error that names the
// directory, or the PostgreSQL with which it was made. The data files must keep their sizes.
func TestBrokenData(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		breaks func(t *testing.T, dir string)
		want   string
	}{
		"PG_VERSION is garbage":      {overwrite("postgres/PG_VERSION", "soup"), `its PG_VERSION is "soup"`},
		"PG_VERSION is empty":        {overwrite("postgres/PG_VERSION", ""), `its PG_VERSION is ""`},
		"PG_VERSION is missing":      {remove("postgres/PG_VERSION"), "holds no PostgreSQL data"},
		"made by a newer PostgreSQL": {overwrite("postgres/PG_VERSION", "99\n"), "was made with PostgreSQL 99"},
		"no control file":            {remove("postgres/global/pg_control"), "could not open file"},
		"control file is damaged":    {overwrite("postgres/global/pg_control", strings.Repeat("x", 8192)), "its log"},
		"configuration is damaged":   {overwrite("postgres/postgresql.conf", "nonsense = = 1\n"), "syntax error"},
		"write-ahead log is gone":    {remove("postgres/pg_wal"), "its log"},
		"Redis's log is damaged":     {overwrite("redis/appendonlydir/appendonly.aof.manifest", "nonsense\n"), "start Redis"},
		"a file where data should be": {func(t *testing.T, dir string) {
			remove("postgres")(t, dir)
			overwrite("postgres", "a file")(t, dir)
		}, "postgres"},
	}
	// Each case breaks a copy, because making the data takes several times as long as copying them.
	whole := options(t)
	s := start(t, whole)
	write(t, s.DatabaseURL(), s.RedisURL())
	closeServers(t, s)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			var log bytes.Buffer
			// Use the program cp, because it keeps the owner of the files.
			if out, err := exec.Command("cp", "-a", whole.DataDir, o.DataDir).CombinedOutput(); err != nil {
				t.Fatalf("copy the data: %v: %s", err, out)
			}
			c.breaks(t, o.DataDir)
			before := contents(t, o.DataDir)
			o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
			s, err := embedded.Start(t.Context(), o)
			if err == nil {
				closeServers(t, s)
				t.Fatal("started on broken data")
			}
			t.Log(err)
			if text := err.Error(); !strings.Contains(text, c.want) || !strings.Contains(text, o.DataDir) && !strings.Contains(text, "made with") {
				t.Errorf("the error does not say %q, or does not name the place", c.want)
			}
			if log.Len() > 0 {
				t.Errorf("returned and logged as well: %s", log.String())
			}
			after := contents(t, o.DataDir)
			for _, file := range slices.Sorted(maps.Keys(before)) {
				if after[file] != before[file] {
					t.Errorf("%s was %d bytes long and is %d", file, before[file], after[file])
				}
			}
		})
	}
}

func overwrite(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// contents returns the data files of both servers with their sizes. The servers may rewrite their own small working
// files.
func contents(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	files := map[string]int64{}
	for _, part := range []string{"postgres/base", "postgres/global", "postgres/PG_VERSION", "redis"} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || entry.Name() == "pg_internal.init" { // a cache, which PostgreSQL writes anew with every start
				return nil //nolint:nilerr // what the case has removed is not there
			}
			info, err := entry.Info()
			if err == nil {
				files[path] = info.Size()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestMissingPrograms(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for name, change := range map[string]func(*embedded.Options){
		"PostgreSQL": func(o *embedded.Options) { o.PostgresBin = empty },
		"Redis":      func(o *embedded.Options) { o.RedisServer = filepath.Join(empty, "redis-server") },
		"data-dir":   func(o *embedded.Options) { o.DataDir = "" },
	} {
		o := options(t)
		change(&o)
		s, err := embedded.Start(t.Context(), o)
		if err == nil {
			closeServers(t, s)
			t.Errorf("%s: started without it", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
