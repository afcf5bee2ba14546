package servertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"outboxd/app/servertest/disktest"
	"outboxd/client/outboxtest"
)

// home is the test binary's temporary folder. The folder's path is short, because the paths of the sockets in it are
// limited.
type home struct {
	path string
	lock *os.File // held while the process lives, to distinguish a folder in use from a forgotten one
	next atomic.Int64
}

const homePattern = "outboxd-test-"

// Folder returns the path for a folder that no other test uses. Folder does not create it. The folder is below the
// test binary's temporary folder, which Main removes at the end.
func Folder(t testing.TB) string {
	t.Helper()
	return shared(t).home.folder()
}

func newHome() (*home, error) {
	parent := outboxtest.TempDir()
	if len(parent) > 40 {
		parent = "/tmp"
	}
	sweep(parent)
	path, err := os.MkdirTemp(parent, homePattern)
	if err != nil {
		return nil, fmt.Errorf("make folder for test servers: %w", err)
	}
	// For root the servers run as another user, who must be able to enter the
	// folders below this one.
	if os.Geteuid() == 0 {
		if err := os.Chmod(path, 0o711); err != nil {
			return nil, fmt.Errorf("make folder for test servers: %w", err)
		}
	}
	lock, err := os.Create(filepath.Join(path, "lock"))
	if err != nil {
		return nil, fmt.Errorf("make folder for test servers: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock folder for test servers: %w", err)
	}
	return &home{path: path, lock: lock}, nil
}

// folder returns the path for a data directory that no other test uses. folder does
// not create the directory.
func (h *home) folder() string { return filepath.Join(h.path, strconv.FormatInt(h.next.Add(1), 10)) }

func (h *home) remove() error { return errors.Join(os.RemoveAll(h.path), h.lock.Close()) }

// sweep removes the folders that earlier test binaries left because they were killed or exceeded their time limit.
func sweep(parent string) {
	forgotten, _ := filepath.Glob(filepath.Join(parent, homePattern+"*"))
	for _, path := range forgotten {
		// Skip new folders: their test binary may not have locked them yet.
		info, err := os.Stat(path)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := os.Open(filepath.Join(path, "lock"))
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = disktest.UnmountBelow(path)
			_ = os.RemoveAll(path)
		}
		_ = lock.Close()
	}
}
