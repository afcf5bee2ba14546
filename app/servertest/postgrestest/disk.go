package postgrestest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"outboxd/app/servertest"
	"outboxd/app/servertest/disktest"
)

// Disk is a file system for one PostgreSQL alone: its tables, its write-ahead log and its log file. Call the methods
// only from the test's goroutine.
type Disk struct {
	disk   *disktest.Disk
	server *Server
}

// diskSize is far above the needs of any test.
const diskSize = "16g"

// StartOnDisk is like Start, but the server's data is on a file system of its own. The disk is nil if this
// process cannot mount one; see disktest.Mount.
func StartOnDisk(t testing.TB) (*Server, *Disk) {
	t.Helper()
	path := servertest.Folder(t)
	if err := os.Mkdir(path, 0o711); err != nil { // another account must pass through
		t.Fatalf("make mount point: %v", err)
	}
	disk := disktest.Mount(t, path, diskSize, fmt.Sprintf("mode=0711,uid=%d,gid=%d", os.Geteuid(), os.Getegid()))
	if disk == nil {
		return Start(t), nil
	}
	s := prepare(t, filepath.Join(path, "data"))
	s.Start()
	return s, &Disk{disk: disk, server: s}
}

// Fill makes the disk full.
func (d *Disk) Fill() {
	d.server.t.Helper()
	d.disk.Fill()
}

// Free makes the disk large again. If the server ended because it could not write its write-ahead log, Free starts the
// server again.
func (d *Disk) Free() {
	d.server.t.Helper()
	d.disk.Free()
	d.server.revive()
}
