// Package handler has what all HTTP listeners of outboxd share: request IDs, logs,
// metrics, traces, limits, security headers, and errors in the form of problem
// documents (RFC 9457).
//
// The package has no routes. Package monitor has the health checks and the metrics, signin
// has the guard of the pages, dashboard has the pages, and registration has the example
// API.
package handler
