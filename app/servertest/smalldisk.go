package servertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// SmallDisk mounts a small file system for the server, at a path where the server can make a tablespace. SmallDisk
// returns false if this process can mount none, neither as root nor through sudo.
func (s *PostgresServer) SmallDisk(bytes int) (path string, mounted bool) {
	s.t.Helper()
	path = filepath.Join(s.options.DataDir, "disk")
	if err := os.Mkdir(path, 0o755); err != nil { // another account must enter
		s.t.Fatalf("make mount point: %v", err)
	}
	options := "size=" + strconv.Itoa(bytes) + ",mode=0700"
	if owner := accountOf(s.t, filepath.Join(s.options.DataDir, "postgres")); owner != nil {
		options += ",uid=" + strconv.Itoa(int(owner.Uid)) + ",gid=" + strconv.Itoa(int(owner.Gid))
	}
	if said, err := asRoot("mount", "-t", "tmpfs", "-o", options, "outboxd-test", path); err != nil {
		s.t.Logf("no small disk can be mounted: %v: %s", err, said)
		return "", false
	}
	s.t.Cleanup(func() {
		// The server still runs. The kernel frees the file system when the server
		// ends.
		if err := unmount(path); err != nil {
			s.t.Error(err)
		}
	})
	return path, true
}

func asRoot(command ...string) ([]byte, error) {
	if os.Geteuid() != 0 {
		command = append([]string{"sudo", "-n"}, command...)
	}
	return exec.Command(command[0], command[1:]...).CombinedOutput()
}
