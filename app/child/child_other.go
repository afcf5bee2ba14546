//go:build unix && !linux

package child

import (
	"fmt"
	"os/exec"
	"syscall"
)

func prepare(attributes *syscall.SysProcAttr, _ syscall.Signal) { attributes.Setpgid = true }

// bindLife starts a shell that waits for the end of a pipe which only this process holds open, and
// then signals the child. It replaces Linux's parent-death signal. The returned function ends the
// watch once the child is gone.
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
