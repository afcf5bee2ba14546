package heal

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// RedriveFilter chooses the events that a person puts back.
type RedriveFilter struct {
	Since  time.Duration // handed to the queue at most this long ago
	Type   string        // empty: all
	Except []string      // types that no consumer confirms
}

// RedriveByHand does what Redrive does, for the events that the filter chooses, and
// records that as an action.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (o *Redriver) RedriveByHand(ctx context.Context, action *domain.Action, filter RedriveFilter) (int64, error) {
	const doing = "record the redrive"
	// The action is recorded before the first event goes back. The number of events is added
	// to the record afterwards, because each batch has a transaction of its own.
	if err := stored.Step(ctx, o.db, "redrive", action, func(pgx.Tx) (int64, error) { return 0, nil }); err != nil {
		return 0, postgres.Translate(err, doing)
	}
	total, err := o.redrive(ctx, redrive{
		window: filter.Since, except: filter.Except, eventType: filter.Type, stage: domain.StagePerson, why: stored.ByWhom(o.db, action),
	})
	if total > 0 {
		recorded := stored.Step(context.WithoutCancel(ctx), o.db, "redrive", action, func(pgx.Tx) (int64, error) { return total, nil })
		if err == nil {
			err = postgres.Translate(recorded, doing)
		}
	}
	return total, stored.End(ctx, o.db, action, err)
}

const countRedriveSQL = `
WITH unconfirmed AS MATERIALIZED (
    SELECT s.id, s.generation, s.queue FROM outbox_sent s
    WHERE s.id > $4::uuid AND s.id <= $5::uuid AND s.sent_at >= now() - $1::float8 * interval '1 second' AND (s.event_type <> ALL ($2::text[]) OR s.subscription IS NOT NULL)
      AND ($3 = '' OR s.event_type = $3) AND s.split IS DISTINCT FROM 'instead'
      AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id AND i.event_id > $4::uuid AND i.event_id <= $5::uuid)
)
SELECT queue, count(DISTINCT id) FROM unconfirmed WHERE ` + notDeadSQL + ` GROUP BY queue`

// CountRedrive returns how many events of the history RedriveByHand would take now.
// CountRedrive includes events whose task waits for a worker or is running. queues has their number in each queue.
func (o *Redriver) CountRedrive(ctx context.Context, filter RedriveFilter) (n int64, queues []domain.QueueCount, err error) {
	counts := map[string]int64{}
	var after domain.ID
	err = postgres.InPieces(ctx, postgres.LargestPiece, func(piece int) (done bool, err error) {
		from, last, err := stored.PieceBesideInbox(ctx, o.db.Pool(), after, piece, time.Time{}, filter.Since)
		if err != nil {
			return false, err
		}
		rows, err := o.db.Pool().Query(ctx, countRedriveSQL, filter.Since.Seconds(), append([]string{}, filter.Except...), filter.Type, [16]byte(from), [16]byte(last))
		if err != nil {
			return false, err
		}
		var queue string
		var some int64
		_, err = pgx.ForEachRow(rows, []any{&queue, &some}, func() error {
			counts[queue] += some
			n += some
			return nil
		})
		after = last
		return after == stored.LastID, err
	})
	for _, queue := range slices.Sorted(maps.Keys(counts)) {
		queues = append(queues, domain.QueueCount{Queue: queue, Count: counts[queue]})
	}
	return n, queues, postgres.Translate(err, "count unconfirmed events")
}
