package upkeep

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// trimCounted does what Trim does, with a statement that returns how many rows it
// deleted.
func (h *Housekeeping) trimCounted(ctx context.Context, doing, statement string, age time.Duration, limit int) (total int64, err error) {
	err = postgres.InPieces(ctx, limit, func(rows int) (done bool, err error) {
		rows = min(rows, limit-int(total))
		var n int64
		err = h.db.Pool().QueryRow(ctx, statement, age.Seconds(), rows).Scan(&n)
		total += n
		return n < int64(rows) || total >= int64(limit), err
	})
	return total, postgres.Translate(err, doing)
}

// trimPast deletes up to limit rows (0: all) with a statement that skips rows which must
// stay. There may be any number of those. Each execution of the statement reads at most
// as many rows as the parameter most says, from the place where the execution before it
// ended: a time ($3) and an ID ($4). The statement returns how many rows it deleted, how
// many it read, and the time and ID of the last row that it read.
func (h *Housekeeping) trimPast(ctx context.Context, doing, statement string, age time.Duration, most, limit int) (total int64, err error) {
	after, id := pgtype.Timestamptz{Valid: true, InfinityModifier: pgtype.NegativeInfinity}, [16]byte(domain.ID{})
	err = postgres.InPieces(ctx, most, func(rows int) (done bool, err error) {
		if limit > 0 {
			rows = min(rows, limit-int(total))
		}
		var gone, looked int64
		if err := h.db.Pool().QueryRow(ctx, statement, age.Seconds(), rows, after, id).Scan(&gone, &looked, &after, &id); err != nil {
			return false, err
		}
		total += gone
		return looked < int64(rows) || limit > 0 && total >= int64(limit), nil
	})
	return total, postgres.Translate(err, doing)
}

// The journal of a dead letter stays as long as the dead letter. The entry that an event
// was erased keeps the event out of replays. So this entry stays as long as the event is
// in outbox_sent or outbox_suppressed: a partition of outbox_sent may stay for longer
// than other entries of the journal. Each subquery returns one value, so that PostgreSQL
// cannot read a whole table into a hash.
const trimJournalSQL = `
WITH looked AS MATERIALIZED (
    SELECT ctid AS place, at, id, event_id, entry FROM outbox_journal
    WHERE at < now() - $1::float8 * interval '1 second' AND (at, id) > ($3::timestamptz, $4::uuid)
    ORDER BY at, id LIMIT $2
), gone AS (
    DELETE FROM outbox_journal WHERE ctid = ANY (ARRAY(
        SELECT place FROM looked WHERE (SELECT d.id FROM outbox_dead d WHERE d.id = looked.event_id) IS NULL
          AND (entry <> 'erased' OR (SELECT s.id FROM outbox_sent s WHERE s.id = looked.event_id LIMIT 1) IS NULL AND (SELECT s.id FROM outbox_suppressed s WHERE s.id = looked.event_id) IS NULL)))
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM looked), coalesce(last.at, $3), coalesce(last.id, $4)
FROM (SELECT) AS one LEFT JOIN (SELECT at, id FROM looked ORDER BY at DESC, id DESC LIMIT 1) AS last ON true`

func (h *Housekeeping) trimJournal(ctx context.Context, age time.Duration, limit int) (int64, error) {
	return h.trimPast(ctx, "trim the journal", trimJournalSQL, age, limit, limit)
}
