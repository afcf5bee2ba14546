// Package systemd reports the state of this process to its service manager, and pings
// the service manager's watchdog. Whether the process is alive is the caller's to say.
package systemd
