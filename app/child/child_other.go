//go:build unix && !linux

package child

import (
	"fmt"
	"os/exec"
	"syscall"
)

func prepare(attributes *syscall.SysProcAttr, _ syscall.Signal) { attributes.Setpgid = true }

// bindLife makes a child process end when this process ends, on systems without Linux's parent-death signal.
// bindLife starts a shell that reads from a pipe of this process. When this process ends, the kernel closes the
// pipe; the shell notices that and signals the child. Call the returned function after the child has ended: the
// function ends the shell.
func bindLife(pid int, death syscall.Signal) func() {
	watch := exec.Command("/bin/sh", "-c", fmt.Sprintf("read -r line || kill -%d %d", int(death), pid)) //nolint:noctx // the write end of its pipe ends it
	watch.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := watch.StdinPipe()
	if err != nil || watch.Start() != nil {
		return func() {} // the child may outlive this process; package keeper stops such a child at its next start
	}
	return func() {
		_, _ = alive.Write([]byte("\n"))
		_ = watch.Wait()
	}
}
