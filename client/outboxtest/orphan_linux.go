package outboxtest

import (
	"os/exec"
	"syscall"
)

// endWithParent ends the command when the thread that started it is gone: a test
// binary that runs into its time limit has no time to clean up.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
