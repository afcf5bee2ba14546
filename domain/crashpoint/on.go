//go:build crashpoints

package crashpoint

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Compiled reports whether this build has the crash points.
const Compiled = true

// variable is the environment variable that names the point at which the process kills itself. If ":stop" follows
// the name, the process suspends itself there once instead, and continues on SIGCONT.
const variable = "CRASHPOINT"

// Reach is called at a place where one step has ended and the next one has not begun. If the variable names this
// point, the process dies or suspends itself there.
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
	// SIGSTOP may stop another thread first. This thread waits for SIGCONT so that it does not run on.
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-resumed
}
