package chaos

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// An odd row that PostgreSQL does not understand is a fault of the harness, and not a row
// that was refused.
func TestAnOddRowThatIsNoStatement(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"22007": "refused", "23514": "refused", "42703": "fault", "42601": "fault", "57P01": ""} {
		hit, fault := readOdd(&pgconn.PgError{Code: code})
		if fault != nil {
			hit = "fault"
		}
		if hit != want {
			t.Errorf("%s: %q, want %q", code, hit, want)
		}
	}
	if hit, fault := readOdd(nil); hit != "taken" || fault != nil {
		t.Errorf("no error: %q, %v", hit, fault)
	}
	if hit, fault := readOdd(errors.New("the connection is lost")); hit != "" || fault != nil {
		t.Errorf("a lost connection: %q, %v", hit, fault)
	}
}

// A run whose servers cannot be reached has a report all the same, which can be printed.
func TestARunThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	report, err := Run(t.Context(), Options{Seed: 7, Profile: Profile{Name: "none"}, Servers: Servers{Database: "::", Redis: "::", AdminDatabase: "::", AdminRedis: "::"}})
	if err == nil || report == nil {
		t.Fatalf("%v, %v", report, err)
	}
	report.Write(t.Output())
	if WriteTable(t.Output(), []*Report{report}); report.OK() || report.Seed != 7 {
		t.Errorf("%+v", report)
	}
}

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
