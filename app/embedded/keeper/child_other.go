//go:build unix && !linux

package keeper

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ProgramOf returns the name of a process's program; empty if the process is gone, or dead and not
// yet reaped.
func ProgramOf(pid int) string {
	out, err := exec.Command("ps", "-o", "stat=,comm=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // it only prints
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 || strings.HasPrefix(fields[0], "Z") {
		return ""
	}
	return filepath.Base(fields[1])
}
