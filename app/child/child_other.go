//go:build unix && !linux

package child

import (
	"fmt"
	"os/exec"
	"syscall"
)

func prepare(attributes *syscall.SysProcAttr, _ syscall.Signal) { attributes.Setpgid = true }

// bindLife replaces Linux's parent-death signal. bindLife starts a shell that reads from a pipe of this process. The
// pipe is closed when this process ends, and then the shell signals the child. Call the returned function once the
// child is gone; it ends the shell.
func bindLife(pid int, death syscall.Signal) func() {
	watch := exec.Command("/bin/sh", "-c", fmt.Sprintf("read -r line || kill -%d %d", int(death), pid)) //nolint:noctx // the write end of its pipe ends it
	watch.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := watch.StdinPipe()
	if err != nil || watch.Start() != nil {
		return func() {} // the next start finds a child that was left behind
	}
	return func() {
		_, _ = alive.Write([]byte("\n"))
		_ = watch.Wait()
	}
}
