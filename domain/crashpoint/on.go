//go:build crashpoints

package crashpoint

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// variable names the point at which the process kills itself; with ":stop"
// behind it the process stops there, once, and goes on when it is told to.
const variable = "CRASHPOINT"

// Reach is where a step has ended and the next one has not begun.
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
	// The signal may stop another thread first, and this one would go on.
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-resumed
}
