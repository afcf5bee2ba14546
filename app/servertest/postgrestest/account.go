package postgrestest

import (
	"os"
	"syscall"
	"testing"
)

// accountOf returns the owner of a file; nil if that is the user of this
// process.
func accountOf(t testing.TB, path string) *syscall.Credential {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatalf("find a test server's account: %v", err)
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if !known || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
}
