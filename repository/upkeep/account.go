package upkeep

import (
	"context"

	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// The account says how many events were emitted, by the UTC day of their creation and by
// type, and what became of the events whose rows were deleted. See
// migrations/00004_record.sql.

// Each execution of foldSQL begins after the last entry that the execution before it
// deleted. An entry that a producer inserts before that place in the meantime is counted
// in the next round.
var foldSQL = `
WITH gone AS (
    DELETE FROM outbox_entries WHERE ctid = ANY (ARRAY(SELECT ctid FROM outbox_entries WHERE ctid > $2::text::tid LIMIT $1))
    RETURNING ctid AS place, event_type, created_at, unrecorded, repeated, deliveries
), entered AS (
    INSERT INTO outbox_account AS a (day, event_type, emitted, unrecorded, repeated, deliveries)
    SELECT ` + stored.AccountDaySQL + `, event_type, count(*) FILTER (WHERE ` + stored.EmittedSQL + `),
           coalesce(sum(unrecorded), 0), coalesce(sum(repeated), 0), coalesce(sum(deliveries), 0)
    FROM gone GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (day, event_type) DO UPDATE
    SET emitted = a.emitted + excluded.emitted, unrecorded = a.unrecorded + excluded.unrecorded, repeated = a.repeated + excluded.repeated,
        deliveries = a.deliveries + excluded.deliveries
)
SELECT count(*), coalesce((SELECT place FROM gone ORDER BY place DESC LIMIT 1)::text, $2) FROM gone`

// FoldAccount implements domain.Housekeeping.
func (h *Housekeeping) FoldAccount(ctx context.Context) (int64, error) {
	total, after := int64(0), "(0,0)"
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		var n int64
		if err := h.db.Pool().QueryRow(ctx, foldSQL, rows, after).Scan(&n, &after); err != nil {
			return false, err
		}
		total += n
		return n < int64(rows), nil
	})
	return total, postgres.Translate(err, "fold the account")
}

// closeSQL enters rows that leave the history (%[1]s) into the account. The inbox keeps
// its rows for relay.inbox_retention, which is not shorter than the history. %[2]s says
// whether the inbox has the event s.
var closeSQL = `
INSERT INTO outbox_account AS a (day, event_type, confirmed, unconfirmed)
SELECT day, event_type, count(*) FILTER (WHERE done), count(*) FILTER (WHERE NOT done)
FROM (
    SELECT ` + stored.AccountDaySQL + ` AS day, event_type, %[2]s AS done
    FROM %[1]s AS s
) AS leaving
GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (day, event_type) DO UPDATE SET confirmed = a.confirmed + excluded.confirmed, unconfirmed = a.unconfirmed + excluded.unconfirmed`
