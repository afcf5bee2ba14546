// Package monitor is the listener that every process has: /healthz, /readyz and
// /metrics and, with the role monitor, the pages behind a guard that decides who
// may read and who may write. The pages themselves are in package dashboard.
package monitor
