//go:build !linux

package distance

import "time"

// pause waits with the precision of Go's timers.
type pause struct{}

func newPause() (*pause, error) { return &pause{}, nil }

func (*pause) wait(d time.Duration) { <-time.After(d) }

func (*pause) close() {}
