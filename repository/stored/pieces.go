package stored

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// Always is a window that nothing is too old for.
const Always = 100 * 365 * 24 * time.Hour

// LastID is beyond all others.
var LastID = domain.ID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// PieceStart is the first ID of a piece that follows one which ended with after.
// The zero ID, "none yet", is itself one that a producer may have written.
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

// pieceEndSQL finds where a piece of the history ends that begins after $1: the
// id so many rows on (%d), or NULL if there are fewer. Whole days are left out, by
// their partitions; rows are not, or looking for enough of them would not be bounded.
const pieceEndSQL = `
SELECT id FROM outbox_sent WHERE id > $1::uuid AND sent_at >= date_trunc('day', greatest($2::timestamptz, now() - $3::float8 * interval '1 second'), 'UTC')
ORDER BY id OFFSET %d LIMIT 1`

// PieceEnd returns the last ID of the piece of the history that begins after one,
// of events sent on the days since both a time and so long ago.
func PieceEnd(ctx context.Context, q Querier, after domain.ID, rows int, since time.Time, window time.Duration) (domain.ID, error) {
	last := LastID
	err := q.QueryRow(ctx, fmt.Sprintf(pieceEndSQL, rows-1), [16]byte(after), since, window.Seconds()).Scan((*[16]byte)(&last))
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return last, err
}

// Querier is the pool or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
