// Package monitor is the HTTP server for /healthz, /readyz and /metrics. With the
// role monitor a process also serves the web pages, behind a guard that decides who
// may read and who may write. Package dashboard has the pages, and package signin
// has the guard.
package monitor
