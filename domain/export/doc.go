// Package export writes dead letters and events as CSV and JSON, page by page, so that it
// needs little memory however many there are.
package export
