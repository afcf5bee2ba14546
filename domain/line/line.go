// Package line dials servers so that a connection that died silently is noticed:
// the other machine lost its power, or something between forgot the connection.
package line

import (
	"net"
	"time"
)

// Probes of an idle connection begin after idle, and it is dead when unanswered of
// them got no answer: after 30 seconds in all. Many firewalls and address translators forget
// a connection that is idle for minutes; the probes also keep those from doing that.
const (
	idle       = 15 * time.Second
	interval   = 5 * time.Second
	unanswered = 3
)

// patience is how long data that was sent may stay unacknowledged. Without a
// bound the system tries for a quarter of an hour.
const patience = 30 * time.Second

// Dialer returns a dialer for connections to a server that are kept for long. The timeout bounds one dial; 0: only
// the context does.
func Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idle, Interval: interval, Count: unanswered},
		Control:         boundUnacknowledged,
	}
}
