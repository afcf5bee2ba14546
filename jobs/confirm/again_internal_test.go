package confirm

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// pqError is an error as lib/pq's: it has the same fields under the same names.
type pqError struct{ Code, Message, Routine string }

func (e *pqError) Error() string    { return "pq: " + e.Message }
func (e *pqError) SQLState() string { return e.Code }

// bare has nothing but its state.
type bare string

func (e bare) Error() string    { return "cached plan must not change result type" }
func (e bare) SQLState() string { return string(e) }

// The server speaks the language of lc_messages.
func TestWhatPassesIsToldWithoutWords(t *testing.T) {
	t.Parallel()
	const german = "gecachter Plan darf den Ergebnistyp nicht ändern"
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"a plan out of date, in German":       {&pgconn.PgError{Code: "0A000", Message: german, Routine: "RevalidateCachedQuery"}, true},
		"the same, by lib/pq":                 {&pqError{"0A000", german, "RevalidateCachedQuery"}, true},
		"wrapped":                             {fmt.Errorf("handle: %w", &pgconn.PgError{Code: "0A000", Routine: "RevalidateCachedQuery"}), true},
		"something that is not supported":     {&pgconn.PgError{Code: "0A000", Message: "cached plan must not change result type", Routine: "transformSelectStmt"}, false},
		"a driver that does not tell by whom": {bare("0A000"), false},
		"a deadlock":                          {bare("40P01"), true},
		"a constraint":                        {&pgconn.PgError{Code: "23505"}, false},
		"no error of PostgreSQL's":            {errors.New("cached plan must not change result type"), false},
	} {
		if got := isPassing(test.err); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}
