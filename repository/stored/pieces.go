package stored

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// Always is a duration of 100 years, for pieces without a bound in time.
const Always = 100 * 365 * 24 * time.Hour

// LastID comes after all other IDs.
var LastID = domain.ID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// PieceStart returns the first ID of a piece. The piece before it ended with the given ID.
// If that ID is zero, PieceStart returns the smallest possible ID.
func PieceStart(after domain.ID) [16]byte {
	start := [16]byte(after)
	if after.IsZero() || after == LastID {
		return start
	}
	for i := len(start) - 1; i >= 0; i-- {
		if start[i]++; start[i] != 0 {
			break
		}
	}
	return start
}

// pieceEndSQL finds the end of a piece of the history that begins after ID $1: the ID
// that is %d rows after the piece's first ID, or no row if there are fewer. pieceEndSQL
// does not read partitions of days that are too old. pieceEndSQL does not leave out
// single old rows of other partitions, because then the number of rows that it reads
// would not be bounded.
const pieceEndSQL = `
SELECT id FROM outbox_sent WHERE id > $1::uuid AND sent_at >= date_trunc('day', greatest($2::timestamptz, now() - $3::float8 * interval '1 second'), 'UTC')
ORDER BY id OFFSET %d LIMIT 1`

// PieceEnd returns the last ID of a piece of the history. The piece before it ended with
// the given ID. PieceEnd counts only rows that were sent after the beginning of a UTC day:
// of the day of the time since, or of the day on which the window begins if that is later.
// For the last piece it returns LastID.
func PieceEnd(ctx context.Context, q Querier, after domain.ID, rows int, since time.Time, window time.Duration) (domain.ID, error) {
	last := LastID
	err := q.QueryRow(ctx, fmt.Sprintf(pieceEndSQL, rows-1), [16]byte(after), since, window.Seconds()).Scan((*[16]byte)(&last))
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return last, err
}

// pieceBesideInboxSQL does what pieceEndSQL does, for statements that read the inbox
// beside the history: the piece also ends where the inbox has as many rows after the
// piece's first event. pieceBesideInboxSQL also returns the first event of the piece.
const pieceBesideInboxSQL = `
WITH first AS MATERIALIZED (
    SELECT id FROM outbox_sent WHERE id > $1::uuid AND sent_at >= date_trunc('day', greatest($2::timestamptz, now() - $3::float8 * interval '1 second'), 'UTC')
    ORDER BY id LIMIT 1
)
SELECT (SELECT id FROM first), least(
    (SELECT id FROM outbox_sent WHERE id > $1::uuid AND sent_at >= date_trunc('day', greatest($2::timestamptz, now() - $3::float8 * interval '1 second'), 'UTC')
     ORDER BY id OFFSET %[1]d LIMIT 1),
    (SELECT event_id FROM inbox WHERE event_id >= (SELECT id FROM first) ORDER BY event_id OFFSET %[1]d LIMIT 1))`

// PieceBesideInbox does what PieceEnd does, for statements that read the inbox beside the
// history. A piece has at most the given number of rows of the history, and at most as
// many rows of the inbox, which may be kept longer and be far larger. The piece begins
// after the returned ID from. A statement can also begin to read the inbox there.
func PieceBesideInbox(ctx context.Context, q Querier, after domain.ID, rows int, since time.Time, window time.Duration) (from, last domain.ID, err error) {
	var first, end *domain.ID
	err = q.QueryRow(ctx, fmt.Sprintf(pieceBesideInboxSQL, rows-1), [16]byte(after), since, window.Seconds()).Scan(&first, &end)
	from, last = after, LastID
	if first != nil {
		from = before(*first)
	}
	if end != nil {
		last = *end
	}
	return from, last, err
}

// The function before returns the ID directly before the given one. The given ID must not be zero.
func before(id domain.ID) domain.ID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]--; id[i] != 0xff {
			break
		}
	}
	return id
}

// Querier is the pool or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
