// Package result is what a benchmark reports: arms that were compared within one
// run, the ratios of their rates, and curves, as JSON, as a table and as a picture.
// It measures nothing itself.
package result
