//go:build unix && !linux

package embedded

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func childAttributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// bindLife starts a shell that waits for the end of a pipe which only this process holds open, and then signals the child: what the
// parent-death signal does on Linux. The returned function ends the watch once the child is gone.
func bindLife(pid int, death syscall.Signal) func() {
	watch := exec.Command("/bin/sh", "-c", fmt.Sprintf("read -r line || kill -%d %d", int(death), pid)) //nolint:noctx // the write end of its pipe ends it
	watch.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := watch.StdinPipe()
	if err != nil || watch.Start() != nil {
		return func() {} // the next start still finds and stops what was left behind
	}
	return func() {
		_, _ = alive.Write([]byte("\n"))
		_ = watch.Wait()
	}
}

// programOf is the name of the program that a process runs; empty if it is gone, or dead and waiting to be reaped.
func programOf(pid int) string {
	out, err := exec.Command("ps", "-o", "stat=,comm=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // it only prints
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 || strings.HasPrefix(fields[0], "Z") {
		return ""
	}
	return filepath.Base(fields[1])
}
