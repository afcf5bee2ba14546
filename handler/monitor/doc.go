// Package monitor is the HTTP server that every process has, for /healthz, /readyz
// and /metrics. With the role monitor the process also serves the web pages, behind
// a guard that decides who may read and who may write. Package dashboard has the
// pages, and package signin has the guard.
package monitor
