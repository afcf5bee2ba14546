//go:build crashpoints

package crashpoint

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// variable names the point at which the process kills itself. With ":stop"
// after the name, the process suspends itself there once, and continues on
// SIGCONT.
const variable = "CRASHPOINT"

// Reach is called where one step has ended and the next one has not begun.
func Reach(p Point) {
	name, stop, _ := strings.Cut(os.Getenv(variable), ":")
	if name != string(p) {
		return
	}
	if stop == "" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	_ = os.Unsetenv(variable)
	// SIGSTOP may stop another thread first: wait, or this one would run on.
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-resumed
}
