// Package handler is the common part of all HTTP listeners of outboxd: it
// begins, logs, counts, traces, limits and secures requests, and answers errors
// as problems (RFC 9457).
//
// It has no routes. Package monitor has the health checks, the metrics and the
// guard of the pages; dashboard has the pages; registration has the example
// API.
package handler
