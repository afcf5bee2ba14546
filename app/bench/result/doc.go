// Package result is the report of a benchmark: arms that were compared within one run, the ratios
// of their rates, and curves. The package writes JSON, a table or a picture, and measures nothing
// itself.
package result
