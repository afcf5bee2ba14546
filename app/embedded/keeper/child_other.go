//go:build unix && !linux

package keeper

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ProgramOf is the name of the program that a process runs; empty if it is gone, or dead and waiting to be reaped.
func ProgramOf(pid int) string {
	out, err := exec.Command("ps", "-o", "stat=,comm=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // it only prints
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 || strings.HasPrefix(fields[0], "Z") {
		return ""
	}
	return filepath.Base(fields[1])
}
