// Package handler answers HTTP: the API that registers users, and the monitor
// with its health checks, metrics and task pages.
//
// It knows status codes, headers and documents. What a user is, and where it
// is kept, is decided in package domain and behind domain.UserStore.
package handler
