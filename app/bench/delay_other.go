//go:build !linux

package bench

import "time"

// pause waits with the precision of Go's timers.
type pause struct{}

func newPause() (*pause, error) { return &pause{}, nil }

func (*pause) wait(d time.Duration) { time.Sleep(d) }

func (*pause) close() {}
