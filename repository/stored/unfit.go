package stored

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/repository/postgres"
)

// unfitError says why an event whose row was read cannot be relayed.
type unfitError struct{ why string }

func (e unfitError) Error() string { return e.why }

// IsOfRow reports whether the contents of a row may have caused an error, and not the
// server, the session or the schema.
func IsOfRow(err error) bool {
	if err == nil || postgres.IsUnavailable(err) || errors.Is(err, context.Canceled) {
		return false
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		_, unfit := errors.AsType[unfitError](err)
		_, unread := errors.AsType[pgx.ScanArgError](err)
		return unfit || unread
	}
	for _, class := range []string{
		"21",    // a statement met the same row twice
		"22",    // data exceptions
		"23",    // constraints
		"44",    // views' check options
		"54",    // too large for an index, too deep
		"P0",    // raised by a trigger
		"XX001", // a damaged row
		"XX002",
	} {
		if strings.HasPrefix(pg.Code, class) {
			return true
		}
	}
	return false
}
