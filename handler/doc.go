// Package handler is what every HTTP listener of outboxd has in common: how a
// request is begun, logged, counted, traced, limited and secured, and how its
// error is told (RFC 9457).
//
// It has no routes. Package monitor has the health checks, the metrics and the
// way to the pages; dashboard has the pages; registration has the example API.
package handler
