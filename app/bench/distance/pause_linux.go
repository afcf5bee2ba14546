package distance

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pause waits for fractions of a millisecond. pause does not use Go's timers: in an
// idle process they round up to the next whole millisecond, which would double a
// delay of 500 microseconds. pause does not sleep in a system call either, because
// that would take a processor away from the measured relay.
type pause struct {
	fd   int
	file *os.File
}

func newPause() (*pause, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	return &pause{fd, os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (p *pause) wait(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	if err := unix.TimerfdSettime(p.fd, 0, &spec, nil); err != nil {
		<-time.After(d)
		return
	}
	var expirations [8]byte
	_, _ = p.file.Read(expirations[:])
}

func (p *pause) close() { _ = p.file.Close() }
