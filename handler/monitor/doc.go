// Package monitor is the listener that every process has: /healthz, /readyz and
// /metrics. With the role monitor it also serves the pages, behind a guard that
// decides who may read and who may write. The pages are in package dashboard.
package monitor
