// Package line dials servers with TCP settings that detect a dead connection, for example after a power failure of
// the other machine, or after a firewall in between dropped the connection.
package line

import (
	"net"
	"time"
)

// The operating system probes a connection that has been idle for 15 seconds (TCP
// keepalive), and again every 5 seconds. After three probes without an answer, 30 seconds
// in all, the connection is dead. The probes also keep firewalls and NAT devices from
// dropping connections that are idle for minutes.
const (
	idle       = 15 * time.Second
	interval   = 5 * time.Second
	unanswered = 3
)

// patience is how long sent data may stay unacknowledged. Without this limit Linux tries for about a quarter of an
// hour.
const patience = 30 * time.Second

// Dialer returns a dialer for long-lived connections to a server. The timeout limits one dial. With 0 only the
// context limits it.
func Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: idle, Interval: interval, Count: unanswered},
		Control:         boundUnacknowledged,
	}
}
