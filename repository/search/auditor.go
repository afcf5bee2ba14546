package search

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/audit"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Auditor implements audit.Auditor.
type Auditor struct{ db *postgres.Database }

// NewAuditor returns the auditor of db.
func NewAuditor(db *postgres.Database) *Auditor { return &Auditor{db: db} }

var _ audit.Auditor = (*Auditor)(nil)

// All statements of one account read the same snapshot. So an event that moves between
// two statements is counted where it was. Each statement counts one piece: the rows of
// the tables with IDs from $1 to $2, and the account's entries, which have no ID, between
// the tuple identifiers $3 and $4. The first statement ($5) also reads outbox_account: the
// sums of the entries that the leader has already added up, and of the deleted rows.
var accountSQL = `
WITH places AS (
    ` + stored.Places.Union(`SELECT id, created_at, event_type, {state} AS state FROM {table} WHERE id >= $1::uuid AND id <= $2::uuid`) + `
), states AS (
    SELECT created_at, event_type, CASE WHEN state = 'in flight' AND i.event_id IS NOT NULL THEN 'confirmed' ELSE state END AS state
    FROM places LEFT JOIN (SELECT event_id FROM inbox WHERE event_id >= $1 AND event_id <= $2) i ON i.event_id = places.id
), sums AS (
    SELECT ` + stored.AccountDaySQL + ` AS day, event_type, count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'held') AS held,
           count(*) FILTER (WHERE state = 'in flight') AS in_flight, count(*) FILTER (WHERE state = 'confirmed') AS confirmed,
           count(*) FILTER (WHERE state = 'dead') AS dead, count(*) FILTER (WHERE state = 'suppressed') AS suppressed,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
           0 AS expired, 0::bigint AS unrecorded, 0 AS discarded, 0::bigint AS repeated, 0::bigint AS emitted, 0::bigint AS deliveries
    FROM states GROUP BY 1, 2
    UNION ALL
    SELECT ` + stored.AccountDaySQL + `, event_type, 0, 0, 0, 0, 0, 0, 0, 0, sum(coalesce(unrecorded, 0)), 0, sum(coalesce(repeated, 0)),
           count(*) FILTER (WHERE ` + stored.EmittedSQL + `), sum(coalesce(deliveries, 0))
    FROM outbox_entries WHERE ctid >= $3::text::tid AND ctid < $4::text::tid GROUP BY 1, 2
    UNION ALL
    SELECT day, event_type, 0, 0, 0, confirmed, 0, suppressed, cancelled, unconfirmed, unrecorded, discarded, repeated, emitted, deliveries FROM outbox_account WHERE $5::boolean
)
SELECT day, event_type, sum(emitted)::bigint, sum(deliveries)::bigint, sum(pending)::bigint, sum(held)::bigint, sum(in_flight)::bigint, sum(confirmed)::bigint,
       sum(dead)::bigint, sum(suppressed)::bigint, sum(cancelled)::bigint, sum(expired)::bigint, sum(unrecorded)::bigint, sum(discarded)::bigint, sum(repeated)::bigint
FROM sums GROUP BY day, event_type ORDER BY day, event_type`

// Account implements audit.Auditor.
func (a *Auditor) Account(ctx context.Context) ([]audit.AccountLine, error) {
	var lines []audit.AccountLine
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		lines, err = a.account(ctx, rows)
		return true, err
	})
	return lines, postgres.Translate(err, "read the account")
}

// entriesABlock is how many entries, of the shortest event type, fit into a block of the
// table outbox_entries. A block holds fewer of them if it has dead rows.
const entriesABlock = 185

const entryBlocksSQL = `SELECT pg_relation_size('outbox_entries'::regclass) / current_setting('block_size')::int`

func (a *Auditor) account(ctx context.Context, rows int) ([]audit.AccountLine, error) {
	sums := accountSums{}
	err := pgx.BeginTxFunc(ctx, a.db.Pool(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var blocks int64
		if err := tx.QueryRow(ctx, entryBlocksSQL).Scan(&blocks); err != nil {
			return err
		}
		after, block, step := domain.ID{}, int64(0), int64(max(rows/entriesABlock, 1))
		for first := true; first || after != stored.LastID || block < blocks; first = false {
			begin, end, err := placesPiece(ctx, tx, after, rows)
			if err != nil {
				return err
			}
			until := end
			if after == stored.LastID {
				until = domain.ID{} // only entries are left
			}
			if err := sums.add(ctx, tx, [16]byte(begin), [16]byte(until), place(block), place(block+step), first); err != nil {
				return err
			}
			after, block = end, block+step
		}
		return nil
	})
	return sums.lines(), err
}

// place returns the tuple identifier (ctid) at which a block begins.
func place(block int64) string { return fmt.Sprintf("(%d,0)", min(block, math.MaxUint32)) }

// placesPieceSQL finds the first ID, from $1 on, of all tables that have events, and the
// ID at which the piece ends: %d rows further on in one of these tables or in the inbox.
// The inbox may have more rows than the tables, because it may be kept longer than the
// history.
var placesPieceSQL = `
WITH first AS MATERIALIZED (
    SELECT least(` + stored.Places.Each(`(SELECT id FROM {table} WHERE id >= $1::uuid ORDER BY id LIMIT 1)`, ", ") + `) AS id
)
SELECT id, least(` + stored.Places.Each(`(SELECT id FROM {table} WHERE id >= $1::uuid ORDER BY id OFFSET %[1]d LIMIT 1)`, ", ") + `,
    (SELECT event_id FROM inbox WHERE event_id >= (SELECT id FROM first) ORDER BY event_id OFFSET %[1]d LIMIT 1))
FROM first`

// placesPiece returns the first and the last ID of the next piece. The piece before it
// ended with the given ID. If no event is left, the piece begins right after the given ID.
func placesPiece(ctx context.Context, q stored.Querier, after domain.ID, rows int) (first, last domain.ID, err error) {
	var from, end *domain.ID
	err = q.QueryRow(ctx, fmt.Sprintf(placesPieceSQL, rows-1), stored.PieceStart(after)).Scan(&from, &end)
	first, last = stored.PieceStart(after), stored.LastID
	if from != nil {
		first = *from
	}
	if end != nil {
		last = *end
	}
	return first, last, err
}

// accountSums holds the sums of the pieces of an account, by day and event type.
type accountSums map[accountKey]audit.AccountLine

type accountKey struct {
	day       time.Time
	eventType string
}

func (s accountSums) add(ctx context.Context, tx pgx.Tx, args ...any) error {
	rows, err := tx.Query(ctx, accountSQL, args...)
	if err != nil {
		return err
	}
	var l audit.AccountLine
	_, err = pgx.ForEachRow(rows, []any{
		&l.Day, &l.Type, &l.Emitted, &l.Deliveries, &l.Pending, &l.Held, &l.InFlight, &l.Confirmed, &l.Dead, &l.Suppressed, &l.Cancelled, &l.Expired, &l.Unrecorded, &l.Discarded, &l.Repeated,
	}, func() error {
		key := accountKey{l.Day, l.Type}
		sum := s[key]
		sum.Day, sum.Type = l.Day, l.Type
		sum.Add(&l)
		s[key] = sum
		return nil
	})
	return err
}

func (s accountSums) lines() []audit.AccountLine {
	return slices.SortedFunc(maps.Values(s), func(x, y audit.AccountLine) int {
		return cmp.Or(x.Day.Compare(y.Day), cmp.Compare(x.Type, y.Type))
	})
}

// A held event waits for another event (holderSQL) or for the end of a replay. Between two
// commits a held event may wait for neither, but only for a moment. So the statement
// ignores events that have been held for less than a minute.
//
// If a producer wrote an event more than once under one ID, several tables may have it.
// In that case the rows of the event have different times, or the account has counted
// each of the rows. So several rows with the same ID and time are a violation only if the
// account has counted fewer events of that day and type than there are. $2 and $3 are
// these days and types.
var violationsSQL = `
(SELECT id, 'in more than one place', string_agg(state, ', ' ORDER BY state)
 FROM (
    ` + stored.Places.Union(`SELECT id, created_at, event_type, {state} AS state FROM {table} WHERE id >= $4::uuid AND id <= $5::uuid`) + `
 ) AS places
 GROUP BY id, created_at HAVING count(*) > 1
    AND bool_or((` + stored.AccountDaySQL + `, event_type) IN (SELECT * FROM unnest($2::date[], $3::text[])))
 ORDER BY id LIMIT $1)
UNION ALL
(SELECT id, 'held without a reason', 'ordering key ' || ordering_key || ', since ' || held_at
 FROM outbox_held h
 WHERE id >= $4 AND id <= $5 AND held_at < now() - interval '1 minute'
   AND ` + holderSQL("h") + ` IS NULL
   AND NOT ` + replayingSQL("h") + `
 ORDER BY id LIMIT $1)
LIMIT $1`

// Violations implements audit.Auditor.
func (a *Auditor) Violations(ctx context.Context, account []audit.AccountLine, limit int) ([]audit.Violation, error) {
	days, types := []time.Time{}, []string{}
	for i := range account {
		if account[i].Difference() < 0 {
			days, types = append(days, account[i].Day), append(types, account[i].Type)
		}
	}
	var violations []audit.Violation
	var after domain.ID
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		begin, end, err := placesPiece(ctx, a.db.Pool(), after, rows)
		if err != nil {
			return false, err
		}
		found, err := a.db.Pool().Query(ctx, violationsSQL, limit-len(violations), days, types, [16]byte(begin), [16]byte(end))
		if err != nil {
			return false, err
		}
		some, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (v audit.Violation, err error) {
			err = row.Scan((*[16]byte)(&v.ID), &v.Broken, &v.Detail)
			return v, err
		})
		if err != nil {
			return false, err
		}
		violations, after = append(violations, some...), end
		return after == stored.LastID || len(violations) == limit, nil
	})
	return violations, postgres.Translate(err, "look for violations")
}

// Events that were published in the last minute are left out, because their
// confirmation may be on its way: the leader reads acknowledgements from Redis a little
// later. A row with a sent_at in the future was written before the clock was set back.
const unconfirmedSQL = `
SELECT id, event_type, queue, generation, sent_at FROM outbox_sent s
WHERE id > $1::uuid AND id <= $4::uuid AND sent_at NOT BETWEEN now() - interval '1 minute' AND now() AND (event_type <> ALL ($3::text[]) OR subscription IS NOT NULL) AND split IS DISTINCT FROM 'instead'
  AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id AND i.event_id > $1::uuid AND i.event_id <= $4::uuid)
ORDER BY id LIMIT $2`

// Unconfirmed implements audit.Auditor.
func (a *Auditor) Unconfirmed(ctx context.Context, after domain.ID, limit int, except []string) ([]domain.SentEvent, error) {
	var events []domain.SentEvent
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		from, end, err := stored.PieceBesideInbox(ctx, a.db.Pool(), after, rows, time.Time{}, stored.Always)
		if err != nil {
			return false, err
		}
		found, err := a.db.Pool().Query(ctx, unconfirmedSQL, [16]byte(from), limit-len(events), append([]string{}, except...), [16]byte(end))
		if err != nil {
			return false, err
		}
		some, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (e domain.SentEvent, err error) {
			err = row.Scan((*[16]byte)(&e.Event.ID), &e.Event.Type, &e.Event.Queue, &e.Event.Generation, &e.SentAt)
			return e, err
		})
		if err != nil {
			return false, err
		}
		events, after = append(events, some...), end
		return after == stored.LastID || len(events) == limit, nil
	})
	return events, postgres.Translate(err, "look for unconfirmed events")
}

const confirmedSQL = `
SELECT asked.id FROM unnest($1::uuid[]) AS asked (id)
WHERE EXISTS (SELECT FROM inbox WHERE event_id = asked.id) OR NOT EXISTS (SELECT FROM outbox_sent s WHERE s.id = asked.id)`

// Confirmed implements audit.Auditor.
func (a *Auditor) Confirmed(ctx context.Context, ids []domain.ID) (map[domain.ID]bool, error) {
	rows, err := a.db.Pool().Query(ctx, confirmedSQL, postgres.UUIDs(ids))
	if err != nil {
		return nil, postgres.Translate(err, "look for confirmations")
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	confirmed := map[domain.ID]bool{}
	for _, id := range list {
		confirmed[id] = true
	}
	return confirmed, postgres.Translate(err, "look for confirmations")
}

// withoutEventSQL reads a partial index that has only entries of this kind.
const withoutEventSQL = `
SELECT event_id, max(at) FROM outbox_journal WHERE entry = 'unknown' GROUP BY event_id ORDER BY 2 DESC, 1 LIMIT $1`

// WithoutEvent implements audit.Auditor.
func (a *Auditor) WithoutEvent(ctx context.Context, limit int) ([]audit.TaskWithoutEvent, error) {
	const doing = "look for tasks without an event"
	rows, err := a.db.Pool().Query(ctx, withoutEventSQL, limit)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	tasks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t audit.TaskWithoutEvent, err error) {
		err = row.Scan((*[16]byte)(&t.EventID), &t.At)
		return t, err
	})
	return tasks, postgres.Translate(err, doing)
}
