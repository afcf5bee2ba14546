package outboxtest

import (
	"os/exec"
	"syscall"
)

// endWithParent makes the command end when the thread that started it ends.
// endWithParent is needed because a test binary that exceeds its time limit cannot
// clean up.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
