package postgrestest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"outboxd/app/servertest/disktest"
)

// SmallDisk mounts a small file system for the server, at a path where the server can make a tablespace. SmallDisk
// returns false if this process cannot mount one; see disktest.Mount.
func (s *Server) SmallDisk(bytes int) (path string, mounted bool) {
	s.t.Helper()
	path = filepath.Join(s.own.Folder(), "disk")
	if err := os.Mkdir(path, 0o755); err != nil { // another account must enter
		s.t.Fatalf("make mount point: %v", err)
	}
	options := "mode=0700"
	if owner := accountOf(s.t, s.data()); owner != nil {
		options += fmt.Sprintf(",uid=%d,gid=%d", owner.Uid, owner.Gid)
	}
	if disktest.Mount(s.t, path, strconv.Itoa(bytes), options) == nil {
		return "", false
	}
	return path, true
}
