package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// Work that grows with the data is done in pieces: each a statement of its own
// that looks at a bounded number of rows, so that it ends under any timeout,
// and holds back neither vacuum nor others.
const (
	largestPiece  = 50_000
	smallestPiece = 1_000
	// patientPieces is how often the smallest may fail in a row: a server that is
	// busy for a moment is not one that allows nothing.
	patientPieces = 5
)

// inPieces calls step until it is done, with how many rows it may look at. A
// step that the server ended because it took too long has changed nothing, and
// is tried again with a quarter of them.
func inPieces(ctx context.Context, rows int, step func(rows int) (done bool, err error)) error {
	for failed := 0; ; {
		done, err := step(rows)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			failed = 0
		case !isTooLong(err) || ctx.Err() != nil:
			return err
		case rows <= smallestPiece && failed < patientPieces:
			failed++
		case rows <= smallestPiece:
			return fmt.Errorf("%w, even one of %d rows: %w", errTooLong, rows, err)
		default:
			rows = max(rows/4, smallestPiece)
		}
	}
}

// errTooLong says that nothing will get better by itself.
var errTooLong = errors.New("the server ends statements that take long")

// isTooLong tells whether the server, or somebody there, ended a statement.
func isTooLong(err error) bool { return sqlState(err) == "57014" }

// always is a window that nothing is too old for.
const always = 100 * 365 * 24 * time.Hour

// lastID is beyond all others.
var lastID = domain.ID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// pieceEndSQL finds where a piece of the history ends that begins after $1: the
// id so many rows on (%d), or NULL if there are fewer. Whole days are left out, by
// their partitions; rows are not, or looking for enough of them would not be bounded.
const pieceEndSQL = `
SELECT id FROM outbox_sent WHERE id > $1::uuid AND sent_at >= date_trunc('day', greatest($2::timestamptz, now() - $3::float8 * interval '1 second'), 'UTC')
ORDER BY id OFFSET %d LIMIT 1`

// pieceEnd returns the last ID of the piece of the history that begins after one,
// of events sent on the days since both a time and so long ago.
func pieceEnd(ctx context.Context, q querier, after domain.ID, rows int, since time.Time, window time.Duration) (domain.ID, error) {
	last := lastID
	err := q.QueryRow(ctx, fmt.Sprintf(pieceEndSQL, rows-1), [16]byte(after), since, window.Seconds()).Scan((*[16]byte)(&last))
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return last, err
}

// querier is the pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
