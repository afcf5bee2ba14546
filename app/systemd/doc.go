// Package systemd reports the state of this process to its service manager, and pings
// the service manager's watchdog. The caller decides whether the process is alive.
package systemd
