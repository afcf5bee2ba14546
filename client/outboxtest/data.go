package outboxtest

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// newData returns a data directory whose database has outboxd's tables. The data
// directory is a copy of the binary's template.
func newData(ctx context.Context, binary string) (string, error) {
	template, err := template(ctx, binary)
	if err != nil {
		return "", err
	}
	// Use a short path, because the length of a unix socket's path is limited.
	home, err := os.MkdirTemp(TempDir(), "ob")
	if err != nil {
		return "", err
	}
	data := filepath.Join(home, "data")
	// For root the servers run as another user, who must be able to enter the
	// folders below this one.
	if err := passable(home); err != nil {
		return "", err
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		return "", err
	}
	if err := passable(data); err != nil {
		return "", err
	}
	if err := copyTree(filepath.Join(template, "postgres"), filepath.Join(data, "postgres")); err != nil {
		_ = os.RemoveAll(home)
		return "", fmt.Errorf("copy the empty database: %w", err)
	}
	return data, nil
}

// TempDir returns the folder in which Start makes the servers' data. The folder is the one that TMPDIR names, else one
// in memory if there is enough memory, else the system's folder for temporary files. PostgreSQL's data are many files,
// and making them is several times faster in memory than on a disk.
func TempDir() string {
	if os.Getenv("TMPDIR") == "" {
		if memory := memoryDir(); memory != "" {
			return memory
		}
	}
	return os.TempDir()
}

func passable(dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return os.Chmod(dir, 0o711)
}

// template returns the data directory of which each test gets a copy.
func template(ctx context.Context, binary string) (string, error) {
	info, err := os.Stat(binary)
	if err != nil {
		return "", err
	}
	base, err := templates()
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(base, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	name := fmt.Sprintf("%x", digest(fmt.Sprint(binary, info.Size(), info.ModTime().UnixNano())))
	made := filepath.Join(base, name)
	if _, err := os.Stat(made); err == nil {
		now := time.Now() // marks it as used, so that it is not removed as old
		return made, os.Chtimes(made, now, now)
	}
	old, err := os.ReadDir(base)
	if err != nil {
		return "", err
	}
	for _, entry := range old {
		// Keep templates that were used within the last hour: another process may
		// be copying one.
		if info, err := entry.Info(); err == nil && entry.IsDir() && time.Since(info.ModTime()) > time.Hour {
			_ = os.RemoveAll(filepath.Join(base, entry.Name()))
		}
	}
	making := made + ".making"
	if err := os.RemoveAll(making); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, binary, "migrate", "up", "--data-dir="+making)
	command.Env, command.Dir = environ(), os.TempDir()
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make an empty database with %s: %w\n%s", binary, err, output)
	}
	return made, os.Rename(making, made)
}

// templates returns the folder that contains the templates. The folder is not in
// the user's cache folder, because root's cache folder is closed to the user that
// the servers run as.
func templates() (string, error) {
	base := filepath.Join(os.TempDir(), fmt.Sprintf("outboxtest-%d", os.Getuid()))
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", err
	}
	if info, err := os.Lstat(base); err != nil || !info.IsDir() || !isOwn(info) {
		return "", fmt.Errorf("%s is somebody else's; remove it, or set TMPDIR: %w", base, err)
	}
	return base, passable(base)
}

func digest(text string) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(text))
	return hash.Sum64()
}

// copyTree copies folders and files. copyTree keeps their owners if this process
// may do that.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case entry.IsDir():
			err = os.Mkdir(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			err = copyFile(path, target, info.Mode().Perm())
		default:
			return nil
		}
		if err != nil {
			return err
		}
		return keepOwner(target, info)
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		_ = target.Close()
		return err
	}
	return target.Close()
}
