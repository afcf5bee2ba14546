package disktest

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Disk is a mounted file system. A method that cannot do its work fails the test. Call the methods only from the test's
// goroutine.
type Disk struct {
	t    testing.TB
	path string
	size string
}

// Mount mounts a file system of a size, such as "16g", on the folder path. The file system uses memory only for its
// contents. options are further options of tmpfs, such as "mode=0700". If the mount fails, for example because this
// process is neither root nor may use sudo, Mount returns nil and logs why. At the end of the test the file system is
// unmounted. If a server still uses it then, the kernel frees it when that server ends.
func Mount(t testing.TB, path, size, options string) *Disk {
	t.Helper()
	d := &Disk{t: t, path: path, size: size}
	if said, err := asRoot("mount", "-t", "tmpfs", "-o", "size="+size+","+options, "outboxd-test", path); err != nil {
		t.Logf("no disk can be mounted: %v: %s", err, said)
		return nil
	}
	t.Cleanup(func() {
		if err := unmount(path); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Fill makes the disk full, by shrinking it to the size of its contents. Filling the disk with a file would need
// memory of the disk's size.
func (d *Disk) Fill() {
	d.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		used, err := d.used()
		if err != nil {
			d.t.Fatal(err)
		}
		// The remount fails if a program has written more since used was read.
		// Then try again.
		said, err := d.resize(strconv.Itoa(used) + "k")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("fill the disk: %v: %s", err, said)
		}
	}
}

// Free makes the disk as large as it was before Fill.
func (d *Disk) Free() {
	d.t.Helper()
	if said, err := d.resize(d.size); err != nil {
		d.t.Fatalf("free the disk: %v: %s", err, said)
	}
}

func (d *Disk) resize(size string) ([]byte, error) {
	return asRoot("mount", "-o", "remount,size="+size, d.path)
}

// used returns the used kilobytes.
func (d *Disk) used() (int, error) {
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
