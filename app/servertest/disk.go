package servertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"outboxd/app/embedded"
)

// PostgresDisk is a file system with nothing but the data of one PostgreSQL: its tables and its write-ahead log. Call
// the methods only from the test's goroutine.
type PostgresDisk struct {
	t      testing.TB
	path   string
	server *PostgresServer
}

// The disk uses memory only for its contents, so this size costs nothing. It is far above the needs of any test.
const diskOption = "size=16g"

// OwnPostgresOnDisk is like OwnPostgres, but the server's data is on a file system of its own. The disk is nil if this
// process can mount none, neither as root nor through sudo.
func OwnPostgresOnDisk(t testing.TB) (*PostgresServer, *PostgresDisk) {
	t.Helper()
	if binary == nil {
		t.Fatal("servertest.Main must be called from TestMain")
	}
	s := &PostgresServer{own{t: t, options: embedded.Options{Postgres: true, Ephemeral: true}}}
	d := &PostgresDisk{t: t, path: binary.home.folder(), server: s}
	if !d.mount() {
		s.prepare()
		return s, nil
	}
	s.prepareIn(filepath.Join(d.path, "data"))
	return s, d
}

func (d *PostgresDisk) mount() bool {
	d.t.Helper()
	if err := os.Mkdir(d.path, 0o711); err != nil { // another account must pass through
		d.t.Fatalf("make mount point: %v", err)
	}
	options := fmt.Sprintf("%s,mode=0711,uid=%d,gid=%d", diskOption, os.Geteuid(), os.Getegid())
	if said, err := asRoot("mount", "-t", "tmpfs", "-o", options, "outboxd-test", d.path); err != nil {
		d.t.Logf("no disk can be mounted: %v: %s", err, said)
		return false
	}
	d.t.Cleanup(func() {
		if err := unmount(d.path); err != nil {
			d.t.Error(err)
		}
	})
	return true
}

// Fill makes the disk full, by shrinking it to the size of its contents. Filling the disk with a file would need
// memory.
func (d *PostgresDisk) Fill() {
	d.t.Helper()
	for deadline := time.Now().Add(stopLimit); ; {
		used, err := d.used()
		if err != nil {
			d.t.Fatal(err)
		}
		// The remount fails if the server has written more since used was read.
		// Then try again.
		said, err := asRoot("mount", "-o", "remount,size="+strconv.Itoa(used)+"k", d.path)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("fill the disk: %v: %s", err, said)
		}
	}
}

// Free makes the disk large again. If the server ended because it could not write its write-ahead log, Free starts the
// server again.
func (d *PostgresDisk) Free() {
	d.t.Helper()
	if said, err := asRoot("mount", "-o", "remount,"+diskOption, d.path); err != nil {
		d.t.Fatalf("free the disk: %v: %s", err, said)
	}
	d.server.revive()
}

// used returns the used kilobytes.
func (d *PostgresDisk) used() (int, error) {
	out, err := exec.Command("df", "-Pk", d.path).Output()
	if err != nil {
		return 0, fmt.Errorf("look at the disk: %w", err)
	}
	fields := strings.Fields(string(out))
	// The columns of df's last line are: file system, size, used, available,
	// percentage, mount point.
	if len(fields) < 6 {
		return 0, fmt.Errorf("look at the disk: df says %q", out)
	}
	return strconv.Atoi(fields[len(fields)-4])
}

// UnmountBelow unmounts the disks that a killed test has left below a folder.
func UnmountBelow(folder string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if errors.Is(err, os.ErrNotExist) {
		return nil // no Linux, and no such disks
	}
	if err != nil {
		return fmt.Errorf("look for forgotten disks: %w", err)
	}
	var faults []error
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], folder+"/") {
			faults = append(faults, unmount(fields[1]))
		}
	}
	return errors.Join(faults...)
}

// unmount detaches a disk lazily: the kernel frees it when nothing uses it any
// more.
func unmount(path string) error {
	if said, err := asRoot("umount", "--lazy", path); err != nil {
		return fmt.Errorf("unmount the test's disk: %w: %s", err, said)
	}
	return nil
}
