package stored

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// firstMoment and lastMoment are the first and the last time that the outbox accepts; see
// migrations/00001_outbox.sql. RFC 3339, and so outboxd's JSON, has no year after 9999.
var (
	firstMoment = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastMoment  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// firstDeadline is the first deadline that the outbox accepts.
var firstDeadline = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)

// Within returns an SQL expression for a column of times. The expression moves each time
// into the range that the outbox accepts. Rows that did not go through the outbox's
// checks may have other times, even infinite ones, with which PostgreSQL cannot
// calculate.
func Within(column string) string {
	return `least(greatest(` + column + `, timestamptz '0001-01-01 00:00:00+00'), timestamptz '9999-12-31 23:59:59.999999+00')`
}

// EmittedSQL is true for an entry of the account that says that one event was emitted.
const EmittedSQL = `unrecorded IS NULL AND repeated IS NULL AND deliveries IS NULL`

// AccountDaySQL is an SQL expression for the day under which the account counts an event.
var AccountDaySQL = `(` + Within("created_at") + ` AT TIME ZONE 'UTC')::date`

// moment scans any time of PostgreSQL without an error. A time outside the range of the
// outbox becomes the nearest time in the range, and NULL becomes the zero time. In both
// cases the field odd becomes true.
type moment struct {
	time.Time
	odd bool
}

var _ pgtype.TimestamptzScanner = (*moment)(nil)

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (m *moment) ScanTimestamptz(v pgtype.Timestamptz) error {
	switch {
	case !v.Valid:
		*m = moment{odd: true}
	case v.InfinityModifier == pgtype.NegativeInfinity, v.InfinityModifier == pgtype.Finite && v.Time.Before(firstMoment):
		*m = moment{firstMoment, true}
	case v.InfinityModifier == pgtype.Infinity, v.Time.After(lastMoment):
		*m = moment{lastMoment, true}
	default:
		*m = moment{v.Time, false}
	}
	return nil
}
