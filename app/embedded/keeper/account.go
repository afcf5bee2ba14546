package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Account is the user that the servers run as. The credential is nil if the servers run as the user of this process.
type Account struct {
	name       string
	uid, gid   int
	credential *syscall.Credential
}

// chooseAccount chooses the user for the servers. PostgreSQL refuses to run as root. If this process is root, the
// servers run as the first of these users that exists and is not root: the owner of the data directory, the owner of
// PostgreSQL's data, the owner of Redis's data, postgres, nobody.
func chooseAccount(f *Folder) (Account, error) {
	if os.Geteuid() != 0 {
		return Account{name: strconv.Itoa(os.Geteuid()), uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, path := range []string{f.Path, f.File("postgres"), f.File("redis")} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if uid, gid := ownerOf(info); uid != 0 {
			return newAccount(uid, gid), nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if errUID == nil && errGID == nil && uid > 0 {
			return newAccount(uid, gid), nil
		}
	}
	return Account{}, errors.New("embedded servers refuse to run as root, and there is neither a user postgres nor a user nobody: run outboxd as an ordinary user")
}

func newAccount(uid, gid int) Account {
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return Account{name: name, uid: uid, gid: gid, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} //nolint:gosec // ids are 32 bits wide
}

// Version runs a server's program with --version as the account and inside the data directory. Version thereby tests
// whether the account can reach the program and the directory. Only a trial shows whether an account can reach a file:
// file modes, access lists and mounts together decide that.
func (a Account) Version(program, dir string) (string, error) {
	cmd := exec.Command(program, "--version") //nolint:noctx // it only prints
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return string(out), nil
	}
	// This process is root only inside its container's user namespace, so it may
	// not change to another user.
	if a.credential != nil && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL)) {
		return "", fmt.Errorf("the embedded servers refuse to run as root, and this root may not run them as user %s (run outboxd as an ordinary user): %w", a.name, err)
	}
	if !errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("run %s --version as user %s: %w: %s", program, a.name, err, out)
	}
	if closed := a.closedParent(dir); closed != "" {
		return "", fmt.Errorf("the embedded servers run as user %s, who cannot pass through %s to reach %s: chmod o+x it, or choose another --data-dir", a.name, closed, dir)
	}
	if closed := a.closedParent(filepath.Dir(program)); closed != "" {
		return "", fmt.Errorf("the embedded servers run as user %s, who cannot pass through %s to reach %s", a.name, closed, program)
	}
	return "", fmt.Errorf("run %s as user %s in %s: %w", program, a.name, dir, err)
}

// closedParent returns the topmost folder of the path that the account cannot enter according to the file modes; "" if
// there is none.
func (a Account) closedParent(path string) string {
	closed := ""
	for ; ; path = filepath.Dir(path) {
		if info, err := os.Stat(path); err == nil {
			uid, gid := ownerOf(info)
			bit := os.FileMode(0o001)
			switch {
			case uid == a.uid:
				bit = 0o100
			case gid == a.gid:
				bit = 0o010
			}
			if info.Mode().Perm()&bit == 0 {
				closed = path
			}
		}
		if path == filepath.Dir(path) {
			return closed
		}
	}
}
