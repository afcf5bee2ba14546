package subscriptions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/domain/lives"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// metSQL selects the events of a piece that a subscription wants and that the relay has
// claimed before, from all tables that may have them.
//
//   - The outbox may have events that the relay has not claimed yet. So may the dead
//     letters, because an event can become a dead letter without a claim. These events
//     are left out. The next claim of such an event makes its deliveries.
//   - A cancelled event gets no delivery.
//   - The range of sent_at leaves out older partitions of the history. The range begins
//     an hour early, because clocks may differ.
//   - An event that was replayed or written again may have several rows; the newest
//     generation counts.
//   - An erased event no longer has a payload and is never sent again. For as long as the
//     event is kept, the journal says that it was erased.
var metSQL = `
WITH sub AS (
    SELECT $4::uuid AS subscription_id, $5::text AS name, $6::text[] AS patterns, $7::jsonb AS wanted_headers, $8::text AS ordering, $9::integer AS most_attempts
), met AS MATERIALIZED (
    SELECT DISTINCT ON (places.id) places.* FROM (
        ` + replayed(`SELECT `+stored.Columns+` FROM {table} WHERE id >= $1::uuid AND id <= $2::uuid AND subscription IS NULL`) + `
    ) AS places, sub
    WHERE created_at >= $3::timestamptz AND event_type COLLATE "C" LIKE ANY (sub.patterns) AND (sub.wanted_headers = '{}' OR places.headers @> sub.wanted_headers)
      AND (SELECT j.event_id FROM outbox_journal j WHERE j.event_id = places.id AND j.entry = 'erased' LIMIT 1) IS NULL
    ORDER BY places.id, generation DESC
)`

// The function replayed returns one query of all tables that may have events which the relay has
// claimed before.
func replayed(query string) string {
	return stored.Places.Only(lives.StateHeld, lives.StateSuppressed).Union(query) + `
        UNION ALL ` + stored.Places.Only(lives.StatePending, lives.StateDead).Union(query+" AND split IS NOT NULL") + `
        UNION ALL ` + stored.Places.Only(lives.StateInFlight).Union(query+" AND "+sentSinceSQL)
}

const sentSinceSQL = `sent_at >= date_trunc('day', $3::timestamptz - interval '1 hour', 'UTC')`

// makeSQL makes the deliveries of a piece that do not exist yet.
//
//   - No delivery is made if it was confirmed, if a table has it (it is on its way or was
//     cancelled), or if a person discarded or erased it. Each of these questions is a
//     subquery that returns one value; see stored.PlaceList.Lack.
//   - The piece ends with the delivery whose payload makes the sum reach %d bytes.
//   - A delivery with an ordering key is held: no held delivery gets the turn before the
//     replay has ended.
var makeSQL = metSQL + `, new AS MATERIALIZED (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - octet_length(payload) AS before
    FROM (SELECT met.*, outbox_delivery_id(met.id, subscription_id) AS delivery_id FROM met, sub) AS named
    WHERE (SELECT i.event_id FROM inbox i WHERE i.event_id = delivery_id) IS NULL
      AND ` + stored.Places.Lack("delivery_id") + `
      AND (SELECT j.event_id FROM outbox_journal j WHERE j.event_id = delivery_id AND j.entry IN ('discarded', 'erased') LIMIT 1) IS NULL
), left_over AS (
    SELECT id FROM new WHERE before >= %[1]d ORDER BY id LIMIT 1
), held AS (
    INSERT INTO outbox_held (` + stored.Columns + `)
    SELECT ` + stored.ColumnsWith(replayColumns()) + ` FROM new, sub WHERE before < %[1]d AND ordering = 'key' AND ordering_key IS NOT NULL
    ON CONFLICT (id) DO NOTHING
    RETURNING event_type, created_at
), waiting AS (
    INSERT INTO outbox (` + stored.Columns + `)
    SELECT ` + stored.ColumnsWith(replayColumns()) + ` FROM new, sub WHERE before < %[1]d AND NOT (ordering = 'key' AND ordering_key IS NOT NULL)
    ON CONFLICT (id) DO NOTHING
    RETURNING event_type, created_at
), made AS (
    SELECT * FROM held UNION ALL SELECT * FROM waiting
), entered AS (
    INSERT INTO outbox_entries (event_type, created_at, deliveries)
    SELECT event_type, date_trunc('day', created_at, 'UTC'), count(*) FROM made GROUP BY 1, 2
)
SELECT (SELECT count(*) FROM met WHERE id < (SELECT id FROM left_over) OR NOT EXISTS (SELECT FROM left_over)), (SELECT count(*) FROM made), (SELECT id FROM left_over)`

// replayColumns returns the columns of a delivery that is due now. So the delivery does
// not come before events that producers have emitted in the meantime.
func replayColumns() map[string]string {
	columns := stored.DeliveryColumns("new")
	// A person or a producer may have moved the event to a later time; then the delivery is
	// due at that time.
	columns["available_at"] = "greatest(now(), (SELECT until FROM outbox_void_tasks v WHERE v.event_id = new.id))"
	return columns
}

// pieceEndSQL finds the last ID of a piece: the smallest of the IDs that are %d rows
// further on in each of the tables.
var pieceEndSQL = `
SELECT least(` + stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateDead, lives.StateSuppressed).Each(`(SELECT id FROM {table} WHERE id >= $1::uuid ORDER BY id OFFSET %[1]d LIMIT 1)`, ", ") + `,
    (SELECT id FROM outbox_sent WHERE id >= $1::uuid AND sent_at >= date_trunc('day', $2::timestamptz - interval '1 hour', 'UTC') ORDER BY id OFFSET %[1]d LIMIT 1))`

// pieceEnd returns the last ID of a piece that has at most the given number of rows of
// each table.
func pieceEnd(ctx context.Context, tx pgx.Tx, after domain.ID, rows int, since time.Time) (domain.ID, error) {
	var end *domain.ID
	if err := tx.QueryRow(ctx, fmt.Sprintf(pieceEndSQL, rows-1), stored.PieceStart(after), since).Scan(&end); err != nil || end == nil {
		return stored.LastID, err
	}
	return *end, nil
}

// pieceBoundsSQL says that the account must not count deliveries as emitted events.
// pieceBoundsSQL also makes the planner use the indexes, so that a piece reads a bounded
// number of rows whatever the size of the tables.
const pieceBoundsSQL = `
SELECT set_config('outboxd.moving', 'on', true), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`

// piece is what one piece of a replay did.
type piece struct {
	until                  domain.ID
	matched, made, refused int64
}

const (
	lockReplaySQL  = `SELECT subscription_id, since, done_until, action_id FROM outbox_replays WHERE subscription = $1 AND ended_at IS NULL FOR UPDATE`
	moveReplaySQL  = `UPDATE outbox_replays SET done_until = $2, matched = matched + $3, made = made + $4, refused = refused + $5, moved_at = clock_timestamp(), ended_at = CASE WHEN $6 THEN clock_timestamp() END WHERE subscription = $1`
	countReplaySQL = `UPDATE outbox_actions SET events = events + $2 WHERE id = $1`
)

// replayPiece makes the deliveries of the next piece, and reports whether that was the
// last piece. If the outbox refuses a delivery, replayPiece tries smaller and smaller
// pieces until one succeeds. If even a piece of one event is refused, replayPiece leaves
// that event out.
func (s *Store) replayPiece(ctx context.Context, name string, rows int) (ended bool, err error) {
	for ; ; rows = max(rows/2, 1) {
		ended, err = s.tryReplayPiece(ctx, name, rows, nil)
		if !stored.IsOfRow(err) || postgres.IsFleeting(err) {
			return ended, err
		}
		if rows == 1 {
			return s.tryReplayPiece(ctx, name, rows, err)
		}
	}
}

// tryReplayPiece makes the deliveries of one piece. If cause is not nil, tryReplayPiece
// makes no delivery, and counts the event of the piece as refused because of cause.
func (s *Store) tryReplayPiece(ctx context.Context, name string, rows int, cause error) (ended bool, err error) {
	err = pgx.BeginFunc(ctx, s.db.Pool(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, pieceBoundsSQL); err != nil {
			return err
		}
		var id, from domain.ID
		var action *domain.ID
		var since time.Time
		err := tx.QueryRow(ctx, lockReplaySQL, s.db.Storable(name)).Scan((*[16]byte)(&id), &since, (*[16]byte)(&from), &action)
		if errors.Is(err, pgx.ErrNoRows) {
			ended = true // by somebody else
			return nil
		} else if err != nil {
			return err
		}
		found, err := findIn(ctx, tx, s.db.Storable(name))
		if err != nil {
			return err
		}
		if found == nil || found.ID != id || !found.RemovedAt.IsZero() {
			ended = true
			if _, err := tx.Exec(ctx, "DELETE FROM outbox_replays WHERE subscription = $1", s.db.Storable(name)); err != nil {
				return err
			}
			return s.stopReplay(ctx, tx, action, "the subscription was removed")
		}
		end, err := pieceEnd(ctx, tx, from, rows, since)
		if err != nil {
			return err
		}
		done := piece{until: end, refused: 1}
		if cause != nil {
			s.db.Logger().ErrorContext(ctx, "no delivery can be made of an event", "subscription", name, "event_id", end, "error", cause)
		} else if done, err = makeDeliveries(ctx, tx, found, from, end, since); err != nil {
			return err
		}
		ended = done.until == stored.LastID
		if _, err := tx.Exec(ctx, moveReplaySQL, s.db.Storable(name), [16]byte(done.until), done.matched, done.made, done.refused, ended); err != nil {
			return err
		}
		if action != nil {
			if _, err := tx.Exec(ctx, countReplaySQL, [16]byte(*action), done.made); err != nil {
				return err
			}
		}
		if action != nil && ended {
			if err := stored.EndIn(ctx, s.db, tx, *action, nil); err != nil {
				return err
			}
		}
		crashpoint.Reach(crashpoint.DeliveriesMade)
		return nil
	})
	if err == nil {
		crashpoint.Reach(crashpoint.DeliveriesKept)
	}
	return ended, err
}

func makeDeliveries(ctx context.Context, tx pgx.Tx, s *setup.Subscription, from, end domain.ID, since time.Time) (piece, error) {
	args, err := wantedArgs(s)
	if err != nil {
		return piece{}, err
	}
	done := piece{until: end}
	var left *domain.ID
	err = tx.QueryRow(ctx, fmt.Sprintf(makeSQL, replayBytes), append([]any{stored.PieceStart(from), [16]byte(end), since}, args...)...).
		Scan(&done.matched, &done.made, &left)
	if left != nil {
		done.until = left.Before()
	}
	return done, err
}

// wantedArgs returns the parameters of metSQL that say which events a subscription wants.
func wantedArgs(s *setup.Subscription) ([]any, error) {
	headers := s.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	text, err := json.Marshal(headers)
	if err != nil {
		return nil, fmt.Errorf("encode the headers of a subscription: %w", err)
	}
	return []any{[16]byte(s.ID), s.Name, patterns(s), string(text), s.Ordering, s.Attempts}, nil
}

// CountReplay returns how many events a subscription wants, among those that were emitted
// since a time and are still kept. The subscription need not exist yet. CountReplay does
// not count events that were cancelled or erased, or that the relay has not claimed yet.
// It also counts events whose delivery already exists.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (s *Store) CountReplay(ctx context.Context, sub *setup.Subscription, since time.Time) (total int64, err error) {
	args, err := wantedArgs(sub)
	if err != nil {
		return 0, err
	}
	var after domain.ID
	err = postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		err = pgx.BeginFunc(ctx, s.db.Pool(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, pieceBoundsSQL); err != nil {
				return err
			}
			end, err := pieceEnd(ctx, tx, after, rows, since)
			if err != nil {
				return err
			}
			var n int64
			if err := tx.QueryRow(ctx, metSQL+" SELECT count(*) FROM met", append([]any{stored.PieceStart(after), [16]byte(end), since}, args...)...).Scan(&n); err != nil {
				return err
			}
			total, after = total+n, end
			return nil
		})
		return after == stored.LastID, err
	})
	return total, postgres.Translate(err, "count the events of a replay")
}
