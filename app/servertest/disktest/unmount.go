package disktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

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

func asRoot(command ...string) ([]byte, error) {
	if os.Geteuid() != 0 {
		command = append([]string{"sudo", "-n"}, command...)
	}
	return exec.Command(command[0], command[1:]...).CombinedOutput()
}
