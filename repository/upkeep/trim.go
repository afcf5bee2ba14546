package upkeep

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// trimCounted is Trim for a statement that returns how many rows it deleted.
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

// trimPast deletes up to limit rows, or all for 0, with a statement that passes over
// rows which stay, however many they are. So each statement looks at up to most rows,
// from where the one before ended: a time ($3) and an ID ($4). It returns how many it
// deleted, how many it looked at, and the time and the ID of the last.
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

// A dead letter keeps its history for as long as it lies there, and an erased event the
// entry that keeps it out of replays: partitions of outbox_sent may stay longer than
// the journal. The subqueries are compared, so that they become no hash of a whole table.
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
