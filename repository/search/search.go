package search

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

const (
	searchLimit = 50_000 // events of each table that one search looks at, about
	// searchTimeout is the statement_timeout of one step, for a very slow database.
	searchTimeout = 5 * time.Second
)

// searchBoundsSQL makes the planner use the indexes, so that each step reads a bounded
// number of rows. If the rows of a table are not stored in the order of their IDs, the
// planner might otherwise read and sort the whole table. JIT is off, because these
// settings raise the estimated cost so much that PostgreSQL would compile the query.
const searchBoundsSQL = `
SELECT set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)`

// Each table is read by the index of its IDs, newest first, from $2 down to $1, and at
// most $4 rows. Only then the filter is applied. So the work does not depend on how many
// events match.
//
//   - $3 has the states to read. The tables of other states cost nothing.
//   - floor is the lowest ID down to which every table was read, or NULL if no table has
//     more rows. Otherwise at least one table may have more rows below it. The next step
//     reads those rows.
//   - The payload is read only if the type matches, because reading it costs most.
//   - Scalar subqueries read inbox and outbox_turns, because PostgreSQL cannot turn such
//     a subquery into a hash of the whole table.
var matchingSQL = `
WITH ` + stored.Places.Each(`{table}_read AS MATERIALIZED (
    SELECT id, {state} AS state, event_type, queue, ordering_key, headers, `+stored.Within("created_at")+` AS created_at, `+stored.Within("{since}")+` AS since,
           attempts, generation, CASE WHEN {rival} = '' THEN {error} ELSE 'task ' || {rival} || ' stands for it' END AS error, octet_length(payload) AS bytes,
           CASE WHEN `+stored.NamedSQL("$5", "event_type")+` THEN `+stored.FieldSQL(12)+` AND `+stored.NotFieldsSQL(18)+` ELSE false END AS payload_matches
    FROM {table} WHERE {state} = ANY ($3::text[]) AND id BETWEEN $1 AND $2 ORDER BY id DESC LIMIT $4
)`, ", ") + `, looked AS (
    ` + stored.Places.Union(`SELECT * FROM {table}_read`) + `
), floor AS (
    SELECT greatest(` + stored.Places.Each(`(SELECT id FROM {table}_read OFFSET $4 - 1 LIMIT 1)`, ", ") + `) AS id,
           (SELECT count(*) FROM looked) AS examined
), matching AS (
    SELECT * FROM (
        SELECT looked.*, CASE state WHEN 'in flight' THEN (SELECT i.processed_at FROM inbox i WHERE i.event_id = looked.id) END AS confirmed_at
        FROM looked
        WHERE ((SELECT id FROM floor) IS NULL OR id >= (SELECT id FROM floor))
          AND ` + stored.NamedSQL("$5", "event_type") + ` AND ` + stored.NamedSQL("$6", "queue") + ` AND ($7 = '' OR ordering_key = $7)
          AND payload_matches AND ($15 = '' OR strpos(lower(error), lower($15)) > 0)
          AND ($16::text[] IS NULL OR NOT EXISTS (SELECT FROM unnest($16::text[]) AS part WHERE strpos(lower(error), lower(part)) > 0))
          AND ` + stored.NotNamedSQL("$17", "event_type") + `
          AND ` + stored.NotKeysSQL("$21") + ` AND ` + stored.NotHeadersSQL(22) + `
          AND ($24::timestamptz IS NULL OR created_at < $24)
          AND ($8 = '' OR CASE WHEN $9 = '' THEN headers ->> $8 IS NOT NULL ELSE headers ->> $8 = $9 END)
    ) AS chosen
    WHERE state <> 'in flight' OR CASE $10 WHEN 'in flight' THEN confirmed_at IS NULL WHEN 'confirmed' THEN confirmed_at IS NOT NULL ELSE true END
)`

// Even without a matching event the result of searchSQL has one row, with floor and how long
// the history is kept.
var searchSQL = matchingSQL + `, page AS (
    SELECT DISTINCT ON (id) * FROM matching ORDER BY id DESC, generation DESC LIMIT $11
)
SELECT floor.id, floor.examined, (SELECT history_seconds FROM outbox_queue_identity), page.id, CASE WHEN confirmed_at IS NULL THEN state ELSE 'confirmed' END, event_type, queue,
       ordering_key, created_at, coalesce(confirmed_at, since), attempts, generation, error, bytes,
       CASE state WHEN 'held' THEN (SELECT ` + holderSQL("h") + ` FROM outbox_held h WHERE h.id = page.id) END,
       state = 'held' AND coalesce((SELECT ` + replayingSQL("h") + ` FROM outbox_held h WHERE h.id = page.id), false)
FROM floor LEFT JOIN page ON true
ORDER BY page.id DESC`

// Search implements lives.Reader.
func (l *Lives) Search(ctx context.Context, filter lives.Filter, before domain.ID, limit int) (lives.Page, error) {
	var page lives.Page
	first, last := searchRange(filter, before)
	began := time.Now()
	err := l.inSteps(ctx, func(tx pgx.Tx) error {
		depth := 0
		for step := firstStep; ; {
			begun := time.Now()
			floor, err := searchOnce(ctx, tx, &page, filter, first, last, step, limit-len(page.Events))
			if err != nil {
				return err
			}
			depth += step
			switch {
			case len(page.Events) >= limit:
				page.Next = page.Events[limit-1].ID
				return nil
			case floor.IsZero():
				return nil
			}
			if step = nextStep(step, time.Since(begun), l.patience-time.Since(began)); step == 0 || depth >= searchLimit {
				page.Next, page.GaveUp = floor, true
				return nil
			}
			last = floor.Before()
		}
	})
	switch {
	case postgres.SQLState(err) == postgres.Cancelled:
		err = domain.Wrap(domain.CodeUnavailable, err, "the search took too long and was given up; name an ID, a state or a time")
	case err != nil:
		err = postgres.Translate(err, "search events")
	}
	return page, err
}

// inSteps calls the function read in a transaction in which each step reads a bounded number
// of rows.
func (l *Lives) inSteps(ctx context.Context, read func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, l.db.Pool(), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, searchBoundsSQL, postgres.Milliseconds(searchTimeout)); err != nil {
			return err
		}
		return read(tx)
	})
}

// searchRange returns the lowest and the highest ID that the filter allows.
func searchRange(filter lives.Filter, before domain.ID) (first, last domain.ID) {
	last = domain.LastID()
	if !filter.Since.IsZero() {
		first = domain.FirstID(filter.Since)
	}
	if !filter.Until.IsZero() {
		last = domain.FirstID(filter.Until).Before()
	}
	if !filter.ID.IsZero() {
		first, last = filter.ID, filter.ID
	}
	if !before.IsZero() && string(before[:]) <= string(last[:]) {
		last = before.Before()
	}
	return first, last
}

// readFor returns the states whose tables may have events of the filter's states: confirmed
// events are in the same table as events in flight. readFor returns a []string, because
// pgx cannot encode another type unless the statement is prepared.
func readFor(f *lives.Filter) (states []string) {
	for _, s := range lives.States() {
		if f.Finds(s) {
			if s == lives.StateConfirmed || s == lives.StateFailing {
				s = lives.StateInFlight
			}
			states = append(states, string(s))
		}
	}
	return states
}

// The function named only returns the value of $10 in matchingSQL, which separates events in flight from confirmed
// events. The value is the one of these two states that the filter finds, or "" if the filter finds both or neither.
// In the database failing events are in flight.
func only(f *lives.Filter) string {
	inFlight, confirmed := f.Finds(lives.StateInFlight) || f.Finds(lives.StateFailing), f.Finds(lives.StateConfirmed)
	switch {
	case inFlight && !confirmed:
		return string(lives.StateInFlight)
	case confirmed && !inFlight:
		return string(lives.StateConfirmed)
	}
	return ""
}

// stepArgs returns the parameters of one step. The parameter step is how many rows of each
// table it reads at most.
func stepArgs(f lives.Filter, first, last domain.ID, step, limit int) []any {
	args := append([]any{
		[16]byte(first), [16]byte(last), readFor(&f), step,
		f.Type, f.Queue, f.OrderingKey, f.HeaderName, f.HeaderValue, only(&f), limit,
	}, stored.FieldArgs(f.Payload)...)
	return slices.Concat(args, []any{f.Error, f.NotErrors, f.NotTypes}, stored.NotFieldsArgs(f.NotFields), []any{f.NotKeys}, stored.NotHeadersArgs(f.NotHeaders), []any{stored.TimeOrNull(f.EmittedBefore)})
}

// searchOnce runs one step of a search and appends up to limit events to the page.
// searchOnce returns the ID down to which it has read, or zero if there are no more rows.
func searchOnce(ctx context.Context, tx pgx.Tx, page *lives.Page, f lives.Filter, first, last domain.ID, step, limit int) (domain.ID, error) {
	rows, err := tx.Query(ctx, searchSQL, stepArgs(f, first, last, step, limit)...)
	if err != nil {
		return domain.ID{}, err
	}
	defer rows.Close()
	var floor, id, turn *[16]byte
	var examined int
	var history float64
	var state, kind, queue, key, fault *string
	var created, since *time.Time
	var attempts, generation, bytes *int
	var replaying *bool // NULL without a matching event
	for rows.Next() {
		if err := rows.Scan(&floor, &examined, &history, &id, &state, &kind, &queue, &key, &created, &since, &attempts, &generation, &fault, &bytes, &turn, &replaying); err != nil {
			return domain.ID{}, err
		}
		if id == nil {
			break
		}
		e := lives.Summary{
			ID: *id, State: lives.State(*state), Type: *kind, Queue: *queue, CreatedAt: *created, Since: *since,
			Attempts: *attempts, Generation: *generation, Error: *fault, PayloadBytes: *bytes, Replaying: *replaying,
		}
		if key != nil {
			e.OrderingKey = *key
		}
		if turn != nil {
			e.WaitsFor = *turn
		}
		page.Events = append(page.Events, e)
	}
	rows.Close()
	page.Examined += examined
	page.History = inSeconds(history)
	if floor == nil {
		return domain.ID{}, rows.Err()
	}
	return *floor, rows.Err()
}
