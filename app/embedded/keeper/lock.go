package keeper

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// The holder of lock runs a server on a data directory, or is starting one. A lock consists of two flocks (file locks
// of the kernel). The server's processes inherit the first flock, so it lasts until the last of them is gone. Whoever
// holds the first flock may start the server. Only the owner has the second flock, which ends with the owner, even
// after kill -9. The second flock shows whether the owner lives, without relying on process IDs.
type lock struct {
	file  *os.File
	owner *os.File
	path  string
	give  func(*os.File) error
}

// lock tries to take the lock of one server. lock returns nil and no error if another process holds the lock.
func (f *Folder) lock(name string) (*lock, error) {
	file, err := f.openLock(f.File(name + ".lock"))
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = file.Close()
		return nil, nil
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return &lock{file: file, path: f.File(name + ".owner"), give: f.give}, nil
}

// announceOwner takes the second flock. Only the holder of the first flock calls announceOwner. So announceOwner never
// waits for another owner, but at most some microseconds for a process that tests whether the owner lives.
func (l *lock) announceOwner() error {
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	if err := l.give(file); err != nil {
		_ = file.Close()
		return err
	}
	if err := retryInterrupted(func() error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }); err != nil {
		_ = file.Close()
		return fmt.Errorf("lock %s: %w", l.path, err)
	}
	l.owner = file
	// The process ID is for people, and for the error message of a process that did not get the lock in time.
	_ = file.Truncate(0)
	_, _ = fmt.Fprintf(file, "%d\n", os.Getpid())
	return nil
}

// release closes the files without unlocking them: unlocking would take the lock from server
// processes that still run.
func (l *lock) release() {
	if l.owner != nil {
		_ = l.owner.Close()
	}
	_ = l.file.Close()
}

// ownerAlive reports whether the process that owns a server still lives.
func (f *Folder) ownerAlive(name string) bool {
	file, err := os.OpenFile(f.File(name+".owner"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

func (f *Folder) openLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := f.give(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
