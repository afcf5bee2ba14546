package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"outboxd/app/child"
	"outboxd/app/servertest"
	"outboxd/app/servertest/disktest"
)

// TestAKilledRunLeavesNothing kills a run with kill -9 while one of its processes is
// stopped, and looks for all that it started: outboxd, workers, producers and servers.
func TestAKilledRunLeavesNothing(t *testing.T) {
	t.Parallel()
	const length = time.Minute
	temporary := shortFolder(t)
	run := exec.Command(os.Args[0], "-test.run=^TestChaos$", "-test.v", "-chaos.duration="+length.String(), fmt.Sprintf("-chaos.seed=%d", earlyPause(length)))
	run.Env = append(servertest.Environ(), "TMPDIR="+temporary, markVariable+"="+temporary)
	output, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	running, err := child.Start(run, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	for lines := bufio.NewScanner(output); !stopped && lines.Scan(); {
		stopped = strings.Contains(lines.Text(), string(Pause))
	}
	if !stopped {
		t.Error("the run ended before a process was stopped")
	}
	if began := descendants(t, temporary); len(began) < 10 {
		t.Errorf("only %d processes ran, which proves little: %v", len(began), began)
	}
	if err := running.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !servertest.Within(time.Minute, func() bool { return len(descendants(t, temporary)) == 0 }) {
		t.Fatalf("these processes outlived the run: %v", descendants(t, temporary))
	}
}

// earlyPause returns a seed with which one of the first three faults stops a process for more than three seconds.
func earlyPause(length time.Duration) uint64 {
	for seed := uint64(1); ; seed++ {
		plan := NewPlan(General(length), seed)
		for range 3 {
			if f := plan.Next(); f.Kind == Pause && f.Lasts > 3*time.Second && f.At > time.Second {
				return seed
			}
		}
	}
}

// shortFolder makes a folder that the servers' account can pass through, and whose name leaves room for sockets.
func shortFolder(t *testing.T) string {
	t.Helper()
	path, err := os.MkdirTemp("/tmp", "chaos-") //nolint:usetesting // its folders have long names, and others may not enter them
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(disktest.UnmountBelow(path), os.RemoveAll(path)); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(path, 0o711); err != nil {
		t.Fatal(err)
	}
	return path
}

// markVariable marks all processes of a run.
const markVariable = "CHAOS_TEST_MARK"

// descendants returns the command lines of the living processes that have the mark of a run in their environment.
func descendants(t *testing.T, mark string) (found []string) {
	t.Helper()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environments {
		environ, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(environ), markVariable+"="+mark) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			found = append(found, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}
