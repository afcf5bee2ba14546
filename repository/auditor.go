package repository

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// Auditor is the domain.Auditor.
type Auditor struct{ db *Database }

// NewAuditor returns the auditor of db.
func NewAuditor(db *Database) *Auditor { return &Auditor{db: db} }

var _ domain.Auditor = (*Auditor)(nil)

// One statement, and so one moment: events that move meanwhile are counted where
// they were. It reads all of the history.
var accountSQL = `
WITH places (created_at, event_type, pending, held, in_flight, confirmed, dead, unrecorded, repeated, emitted) AS (
    SELECT created_at, event_type, 1, 0, 0, 0, 0, 0::bigint, 0::bigint, 0::bigint FROM outbox
    UNION ALL SELECT created_at, event_type, 0, 1, 0, 0, 0, 0, 0, 0 FROM outbox_held
    UNION ALL SELECT created_at, event_type, 0, 0, (NOT done)::int, done::int, 0, 0, 0, 0
        FROM (SELECT created_at, event_type, EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id) AS done FROM outbox_sent s) AS sent
    UNION ALL SELECT created_at, event_type, 0, 0, 0, 0, 1, 0, 0, 0 FROM outbox_dead
    UNION ALL SELECT created_at, event_type, 0, 0, 0, 0, 0, coalesce(unrecorded, 0), coalesce(repeated, 0),
        (unrecorded IS NULL AND repeated IS NULL)::int FROM outbox_entries
), sums AS (
    SELECT ` + accountDaySQL("created_at") + ` AS day, event_type, sum(pending) AS pending, sum(held) AS held, sum(in_flight) AS in_flight,
           sum(confirmed) AS confirmed, sum(dead) AS dead, 0 AS expired, sum(unrecorded) AS unrecorded,
           0 AS discarded, sum(repeated) AS repeated, sum(emitted) AS emitted
    FROM places GROUP BY 1, 2
    UNION ALL
    SELECT day, event_type, 0, 0, 0, confirmed, 0, unconfirmed, unrecorded, discarded, repeated, emitted FROM outbox_account
)
SELECT day, event_type, sum(emitted)::bigint, sum(pending)::bigint, sum(held)::bigint, sum(in_flight)::bigint, sum(confirmed)::bigint,
       sum(dead)::bigint, sum(expired)::bigint, sum(unrecorded)::bigint, sum(discarded)::bigint, sum(repeated)::bigint
FROM sums GROUP BY day, event_type ORDER BY day, event_type`

// Account implements domain.Auditor.
func (a *Auditor) Account(ctx context.Context) ([]domain.AccountLine, error) {
	rows, err := a.db.pool.Query(ctx, accountSQL)
	if err != nil {
		return nil, translate(err, "read the account")
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l domain.AccountLine, err error) {
		err = row.Scan(&l.Day, &l.Type, &l.Emitted, &l.Pending, &l.Held, &l.InFlight, &l.Confirmed, &l.Dead, &l.Expired, &l.Unrecorded, &l.Discarded, &l.Repeated)
		return l, err
	})
	return lines, translate(err, "read the account")
}

// What is held waits for the event that has its key's turn, or for an earlier one
// that is still in the outbox. Between two commits neither may be there, for a moment.
//
// An event that was written more than once, under one ID, may be in as many
// places. It was then written at different times, or counted as often by the
// account. So rows of one ID and time break a promise where the account ($2, $3:
// its days and types) has counted fewer.
var violationsSQL = `
(SELECT id, 'in more than one place', string_agg(place, ', ' ORDER BY place)
 FROM (
    SELECT id, created_at, event_type, 'outbox' AS place FROM outbox
    UNION ALL SELECT id, created_at, event_type, 'outbox_held' FROM outbox_held
    UNION ALL SELECT id, created_at, event_type, 'outbox_sent' FROM outbox_sent
    UNION ALL SELECT id, created_at, event_type, 'outbox_dead' FROM outbox_dead
 ) AS places
 GROUP BY id, created_at HAVING count(*) > 1
    AND bool_or((` + accountDaySQL("created_at") + `, event_type) IN (SELECT * FROM unnest($2::date[], $3::text[])))
 ORDER BY id LIMIT $1)
UNION ALL
(SELECT id, 'held without a reason', 'ordering key ' || ordering_key || ', since ' || held_at
 FROM outbox_held h
 WHERE held_at < now() - interval '1 minute'
   AND NOT EXISTS (SELECT FROM outbox_turns t WHERE t.ordering_key = h.ordering_key)
   AND NOT EXISTS (SELECT FROM outbox o WHERE o.ordering_key = h.ordering_key AND o.ordering_position < h.ordering_position)
 ORDER BY id LIMIT $1)
LIMIT $1`

// Violations implements domain.Auditor.
func (a *Auditor) Violations(ctx context.Context, account []domain.AccountLine, limit int) ([]domain.Violation, error) {
	days, types := []time.Time{}, []string{}
	for i := range account {
		if account[i].Difference() < 0 {
			days, types = append(days, account[i].Day), append(types, account[i].Type)
		}
	}
	rows, err := a.db.pool.Query(ctx, violationsSQL, limit, days, types)
	if err != nil {
		return nil, translate(err, "look for violations")
	}
	violations, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v domain.Violation, err error) {
		err = row.Scan((*[16]byte)(&v.ID), &v.Broken, &v.Detail)
		return v, err
	})
	return violations, translate(err, "look for violations")
}

// What was sent this minute need not be in Redis yet. What was sent in the future was sent before
// the clock was set back.
const unconfirmedSQL = `
SELECT id, event_type, queue, generation, sent_at FROM outbox_sent s
WHERE id > $1::uuid AND sent_at NOT BETWEEN now() - interval '1 minute' AND now() AND event_type <> ALL ($3::text[])
  AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id AND i.event_id > $1::uuid)
ORDER BY id LIMIT $2`

// Unconfirmed implements domain.Auditor.
func (a *Auditor) Unconfirmed(ctx context.Context, after domain.ID, limit int, except []string) ([]domain.SentEvent, error) {
	rows, err := a.db.pool.Query(ctx, unconfirmedSQL, [16]byte(after), limit, append([]string{}, except...))
	if err != nil {
		return nil, translate(err, "look for unconfirmed events")
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e domain.SentEvent, err error) {
		err = row.Scan((*[16]byte)(&e.Event.ID), &e.Event.Type, &e.Event.Queue, &e.Event.Generation, &e.SentAt)
		return e, err
	})
	return events, translate(err, "look for unconfirmed events")
}

const confirmedSQL = `
SELECT asked.id FROM unnest($1::uuid[]) AS asked (id)
WHERE EXISTS (SELECT FROM inbox WHERE event_id = asked.id) OR NOT EXISTS (SELECT FROM outbox_sent s WHERE s.id = asked.id)`

// Confirmed implements domain.Auditor.
func (a *Auditor) Confirmed(ctx context.Context, ids []domain.ID) (map[domain.ID]bool, error) {
	rows, err := a.db.pool.Query(ctx, confirmedSQL, uuids(ids))
	if err != nil {
		return nil, translate(err, "look for confirmations")
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	confirmed := map[domain.ID]bool{}
	for _, id := range list {
		confirmed[id] = true
	}
	return confirmed, translate(err, "look for confirmations")
}
