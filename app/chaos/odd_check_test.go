package chaos

import (
	"slices"
	"strings"
	"testing"
)

// PostgreSQL refuses an INSERT that names a column twice, so such a row would test nothing.
func TestAnOddRowNamesEachColumnOnce(t *testing.T) {
	t.Parallel()
	for _, row := range oddRows {
		_, list, _ := strings.Cut(oddRowSQL(row.columns, row.values), "INSERT INTO outbox (")
		list, _, _ = strings.Cut(list, ")")
		columns := strings.Split(list, ", ")
		if slices.Sort(columns); len(slices.Compact(slices.Clone(columns))) != len(columns) {
			t.Errorf("%s = %s: columns %v", row.columns, row.values, columns)
		}
	}
}
