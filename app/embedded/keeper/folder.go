package keeper

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// socketLimit is the longest path of a socket that the servers get, in bytes.
// Operating systems allow 103 to 107.
const socketLimit = 100

// longestSocket is the longest name of a socket that a server makes in its folder.
const longestSocket = "/.s.PGSQL.5432"

// Folder is a data directory. Files directly in the data directory belong to its owner. The folders with the servers'
// data belong to the servers' account.
type Folder struct {
	Path     string
	uid, gid int // the directory's owner
	Account  Account
}

// DefaultDataDir returns the default data directory and does not create it. For root the directory is /var/lib/outboxd,
// because the servers of root run as another user, who cannot enter /root. For other users the directory is the folder
// outboxd in XDG_DATA_HOME. If XDG_DATA_HOME is not set, it is the folder outboxd in ~/.local/share or, on macOS, in
// ~/Library/Application Support.
func DefaultDataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/outboxd", nil
	}
	if xdg := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "outboxd"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a place for data, name one with --data-dir: %w", err)
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "outboxd"), nil
	}
	return filepath.Join(home, ".local", "share", "outboxd"), nil
}

// OpenFolder makes the data directory if it is missing, and chooses the servers' account.
func OpenFolder(path string) (*Folder, error) {
	if path == "" {
		return nil, errors.New("no data directory for the embedded servers: name one with --data-dir")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, unusable(err)
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // parents such as ~/.local/share are not private
		return nil, unusable(err)
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, unusable(err)
	}
	// Use the real path: the checks below concern the real parents and the real length, and two names of one folder
	// must give the same address.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, unusable(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unusable(err)
	}
	if !info.IsDir() {
		return nil, unusable(fmt.Errorf("%s is not a folder", path))
	}
	f := &Folder{Path: path}
	f.uid, f.gid = ownerOf(info)
	if f.Account, err = chooseAccount(f); err != nil {
		return nil, err
	}
	return f, f.open(info)
}

// unusable adds to an error of the data directory that --data-dir chooses another
// one.
func unusable(err error) error {
	return fmt.Errorf("data directory (choose another with --data-dir): %w", err)
}

// open changes the mode of a data directory that belongs to root, so that the servers' account can pass through it.
// open changes only a folder that is empty or that outboxd made, because any other folder may be a home directory.
func (f *Folder) open(info os.FileInfo) error {
	if f.Account.credential == nil || f.uid != 0 || info.Mode().Perm()&0o001 != 0 {
		return nil
	}
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		return unusable(err)
	}
	_, locked := os.Lstat(f.File("postgres.lock"))
	_, lockedToo := os.Lstat(f.File("redis.lock"))
	if len(entries) > 0 && locked != nil && lockedToo != nil {
		return unusable(fmt.Errorf("%s cannot be entered by user %s, as whom the servers run: chmod 711 it", f.Path, f.Account.name))
	}
	if err := os.Chmod(f.Path, 0o711); err != nil { //nolint:gosec // others may pass, and read nothing
		return unusable(err)
	}
	return nil
}

// File returns the path of a file or folder in the data directory.
func (f *Folder) File(name string) string { return filepath.Join(f.Path, name) }

// give makes the data directory's owner the owner of a file that root has made, because the owner may later run outboxd
// without root.
func (f *Folder) give(file *os.File) error {
	if os.Geteuid() != 0 || f.uid == 0 {
		return nil
	}
	if err := file.Chown(f.uid, f.gid); err != nil {
		return fmt.Errorf("give file to the owner of %s: %w", f.Path, err)
	}
	return nil
}

// Private makes a folder that only the servers' account (and root) can enter. If the folder exists, Private does not
// change its mode. If this process is root, Private gives the folder to that account.
func (f *Folder) Private(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is in the way: it is not a folder", path)
	}
	if f.Account.credential == nil {
		return nil
	}
	if uid, _ := ownerOf(info); uid == f.Account.uid {
		return nil
	}
	if err := os.Lchown(path, f.Account.uid, f.Account.gid); err != nil {
		return fmt.Errorf("give %s to user %s: %w", path, f.Account.name, err)
	}
	return nil
}

// Sockets returns the folder of the servers' sockets: the folder "run" in the data directory, or a temporary folder
// with a short path if a socket cannot be in "run". The name of the temporary folder is derived from the data
// directory, so that a restarted server has the same address.
func (f *Folder) Sockets() (string, error) {
	inside := f.File("run")
	if fitsSocket(inside) {
		return inside, f.Private(inside)
	}
	short := fmt.Sprintf("outboxd-%d-%.6x", f.Account.uid, sha256.Sum256([]byte(f.Path)))
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		path := filepath.Join(parent, short)
		if !fitsSocket(path) {
			continue
		}
		if err := f.Private(path); err != nil {
			continue
		}
		// Everybody can write to the system's temporary folder, so another user may have made a folder of this name.
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
			continue
		}
		if uid, _ := ownerOf(info); uid != f.Account.uid {
			continue
		}
		return path, nil
	}
	return "", fmt.Errorf("path of data directory %s is too long for a socket or has a comma in it, and no short temporary folder can be made: choose another with --data-dir", f.Path)
}

// fitsSocket reports whether clients accept the path of a folder as a host: the path is short enough, and has no comma,
// because commas separate hosts.
func fitsSocket(path string) bool {
	return len(path)+len(longestSocket) <= socketLimit && !strings.Contains(path, ",")
}

func ownerOf(info os.FileInfo) (uid, gid int) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid), int(stat.Gid)
	}
	return os.Geteuid(), os.Getegid()
}
