package subscriptions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// A replay makes deliveries to a subscription for events that were relayed without it.
// The replay reads the events since a time that are still kept, in the order of their IDs
// and in pieces. The row in outbox_replays says how far it has come, so that any process can
// continue it. Two processes that continue the same replay take turns.
//
// Every delivery has the ID that the claim would have given it, so that a delivery which
// already exists is not made again.

const (
	// replayRows is how many events of each table one piece reads at most. A piece ends with
	// the delivery whose payload makes the sum reach replayBytes.
	replayRows  = 5_000
	replayBytes = 8 << 20
	// A replay makes its next piece only if at most replayRoom events are due. The new
	// deliveries wait behind these events, and later events of producers wait behind the new
	// deliveries.
	replayRoom  = 2 * replayRows
	replayCheck = 200 * time.Millisecond
	// keysAtOnce is how many ordering keys get their turn in one statement, when a replay
	// ends.
	keysAtOnce = 1_000
)

const beginReplaySQL = `
INSERT INTO outbox_replays AS r (subscription, subscription_id, since, action_id)
SELECT name, id, $2::timestamptz, $3::uuid FROM outbox_subscriptions WHERE name = $1 AND removed_at IS NULL
ON CONFLICT (subscription) DO UPDATE
SET subscription_id = excluded.subscription_id, since = excluded.since, action_id = excluded.action_id, begun_at = clock_timestamp(), moved_at = clock_timestamp(),
    done_until = '00000000-0000-0000-0000-000000000000', matched = 0, made = 0, refused = 0, ended_at = NULL
WHERE r.ended_at IS NOT NULL OR r.subscription_id <> excluded.subscription_id OR r.since > excluded.since`

// BeginReplay records that a subscription is to get the events that were emitted since a
// time and are still kept. If a replay that goes back as far or further is under way,
// that one continues. BeginReplay makes no deliveries itself; see ContinueReplay. Errors:
// domain.CodeNotFound.
func (s *Store) BeginReplay(ctx context.Context, action *domain.Action, name string, since time.Time) error {
	err := pgx.BeginFunc(ctx, s.db.Pool(), func(tx pgx.Tx) error {
		found, err := findIn(ctx, tx, s.db.Storable(name))
		if err == nil && (found == nil || !found.RemovedAt.IsZero()) {
			err = table.Missing(name)
		}
		if err != nil {
			return err
		}
		return s.beginReplay(ctx, tx, action, name, since)
	})
	if domain.ErrorCode(err) == domain.CodeNotFound {
		return err
	}
	return postgres.Translate(err, "begin a replay")
}

func (s *Store) beginReplay(ctx context.Context, tx pgx.Tx, action *domain.Action, name string, since time.Time) error {
	said := maps.Clone(action.Filter)
	if said == nil {
		said = map[string]string{}
	}
	said["subscription"], said["since"] = name, since.UTC().Format(time.RFC3339)
	id, err := stored.Begin(ctx, s.db, tx, "replay", &domain.Action{Actor: action.Actor, Reason: action.Reason, Filter: said})
	if err != nil {
		return err
	}
	var former *domain.ID
	if err := tx.QueryRow(ctx, openActionSQL, s.db.Storable(name)).Scan(&former); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	begun, err := tx.Exec(ctx, beginReplaySQL, s.db.Storable(name), since, [16]byte(id))
	switch {
	case err != nil:
		return err
	case begun.RowsAffected() == 0:
		return s.stopReplay(ctx, tx, &id, "a replay that goes back as far is under way")
	default:
		return s.stopReplay(ctx, tx, former, "another replay took its place")
	}
}

// openActionSQL finds the action of the replay that is under way.
const openActionSQL = `SELECT action_id FROM outbox_replays WHERE subscription = $1 AND ended_at IS NULL FOR UPDATE`

// stopReplay records that the action of a replay, if there is one, will not be done.
func (s *Store) stopReplay(ctx context.Context, tx pgx.Tx, action *domain.ID, why string) error {
	if action == nil {
		return nil
	}
	return stored.EndIn(ctx, s.db, tx, *action, &domain.Stopped{Err: errors.New(why)})
}

const replaysSQL = `SELECT subscription, since, begun_at, moved_at, matched, made, refused, ended_at FROM outbox_replays`

func scanReplay(row pgx.CollectableRow) (setup.SubscriptionReplay, error) {
	var r setup.SubscriptionReplay
	var ended *time.Time
	err := row.Scan(&r.Subscription, &r.Since, &r.BegunAt, &r.MovedAt, &r.Matched, &r.Made, &r.Refused, &ended)
	if ended != nil {
		r.EndedAt = *ended
	}
	return r, err
}

// Replay returns the last replay to a subscription, or nil if there was none.
func (s *Store) Replay(ctx context.Context, name string) (*setup.SubscriptionReplay, error) {
	const doing = "look for a replay"
	rows, err := s.db.Pool().Query(ctx, replaysSQL+" WHERE subscription = $1", s.db.Storable(name))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	found, err := pgx.CollectRows(rows, scanReplay)
	if err != nil || len(found) == 0 {
		return nil, postgres.Translate(err, doing)
	}
	return &found[0], nil
}

// AbandonedReplays returns the names of the subscriptions whose replay has not ended and has
// made no progress for the given time.
func (s *Store) AbandonedReplays(ctx context.Context, after time.Duration) ([]string, error) {
	rows, err := s.db.Pool().Query(ctx, `SELECT subscription FROM outbox_replays WHERE ended_at IS NULL AND moved_at < clock_timestamp() - $1 * interval '1 second' ORDER BY 1`, after.Seconds())
	if err != nil {
		return nil, postgres.Translate(err, "look for replays")
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, postgres.Translate(err, "look for replays")
}

func (s *Store) openReplay(ctx context.Context, name string) (from domain.ID, open bool, err error) {
	err = s.db.Pool().QueryRow(ctx, "SELECT done_until FROM outbox_replays WHERE subscription = $1 AND ended_at IS NULL", s.db.Storable(name)).Scan((*[16]byte)(&from))
	if errors.Is(err, pgx.ErrNoRows) {
		return from, false, nil
	}
	return from, err == nil, postgres.Translate(err, "look for a replay")
}

// ContinueReplay continues the replay to a subscription until all deliveries are made.
// ContinueReplay returns at once if no replay is under way. It waits while many events are
// due. ContinueReplay calls the function tell after every piece and while it waits, unless
// tell is nil.
//
// Every piece that ContinueReplay has made stays, even if ContinueReplay is interrupted:
// the next call continues from there.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (s *Store) ContinueReplay(ctx context.Context, name string, tell func(setup.SubscriptionReplay)) error {
	from, open, err := s.openReplay(ctx, name)
	if err != nil || !open {
		return err
	}
	if from.IsZero() {
		if err := s.awaitClaims(ctx); err != nil {
			return err
		}
	}
	err = postgres.InPieces(ctx, replayRows, func(rows int) (ended bool, err error) {
		if err := s.awaitRoom(ctx, name, tell); err != nil {
			return false, err
		}
		if ended, err = s.replayPiece(ctx, name, rows); err != nil {
			return false, err
		}
		return ended, s.tellReplay(ctx, name, tell)
	})
	if err != nil {
		return postgres.Translate(err, "make deliveries")
	}
	crashpoint.Reach(crashpoint.DeliveriesOpened)
	return s.giveTurns(ctx, name, tell)
}

func (s *Store) tellReplay(ctx context.Context, name string, tell func(setup.SubscriptionReplay)) error {
	if tell == nil {
		return nil
	}
	r, err := s.Replay(ctx, name)
	if err == nil && r != nil {
		tell(*r)
	}
	return err
}

// A claim reads outbox_subscriptions first and holds the lock of that table until its
// end. A claim that began before the subscription was committed makes no deliveries to
// it, so the replay waits for the end of such claims.
const (
	claimsSQL = `
SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}')
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.relation = 'outbox_subscriptions'::regclass AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND coalesce(a.xact_start > clock_timestamp() - $1 * interval '1 second', true)`
	claimsLeftSQL = `
SELECT EXISTS (SELECT FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'outbox_subscriptions'::regclass AND virtualtransaction = ANY ($1::text[]))`
	// No claim lasts as long as claimPatience: PostgreSQL ends a claim that is idle or makes no progress.
	claimPatience = 5 * time.Minute
	claimCheck    = 20 * time.Millisecond
)

// awaitClaims waits until every claim that is open now has ended. If that takes longer than
// claimPatience, awaitClaims logs a warning and returns nil.
func (s *Store) awaitClaims(ctx context.Context) error {
	var claims []string
	err := s.db.Pool().QueryRow(ctx, claimsSQL, claimPatience.Seconds()).Scan(&claims)
	if err != nil || len(claims) == 0 {
		return postgres.Translate(err, "look for open claims")
	}
	for begun := time.Now(); ; {
		var left bool
		if err := s.db.Pool().QueryRow(ctx, claimsLeftSQL, claims).Scan(&left); err != nil || !left {
			return postgres.Translate(err, "wait for open claims")
		}
		if time.Since(begun) > claimPatience {
			s.db.Logger().WarnContext(ctx, "a transaction locks outbox_subscriptions for longer than any claim lasts; the replay goes on without it", "waited", claimPatience)
			return nil
		}
		if err := pause(ctx, claimCheck); err != nil {
			return err
		}
	}
}

// dueSQL counts due events by their index, up to a limit.
var dueSQL = fmt.Sprintf(`SELECT count(*) FROM (SELECT FROM outbox WHERE available_at <= now() ORDER BY available_at, id LIMIT %d) AS due`, replayRoom+1)

// awaitRoom waits until at most replayRoom events are due.
func (s *Store) awaitRoom(ctx context.Context, name string, tell func(setup.SubscriptionReplay)) error {
	for {
		var due int
		if err := s.db.Pool().QueryRow(ctx, dueSQL).Scan(&due); err != nil {
			return postgres.Translate(err, "count due events")
		}
		if due <= replayRoom {
			return nil
		}
		// The change of moved_at shows that this process is still at work, so that no other
		// process takes the replay over.
		if _, err := s.db.Pool().Exec(ctx, "UPDATE outbox_replays SET moved_at = clock_timestamp() WHERE subscription = $1 AND moved_at < clock_timestamp() - interval '5 seconds'", s.db.Storable(name)); err != nil {
			return postgres.Translate(err, "wait for the relay")
		}
		if err := s.tellReplay(ctx, name, tell); err != nil {
			return err
		}
		if err := pause(ctx, replayCheck); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

const heldKeysSQL = `
SELECT DISTINCT ordering_key FROM outbox_held WHERE subscription = $1 AND ordering_key > $2 ORDER BY ordering_key LIMIT $3`

// giveTurns gives the turn of each ordering key to the first held delivery of the key. If
// giveTurns is interrupted, the leader's housekeeping gives the other turns.
func (s *Store) giveTurns(ctx context.Context, name string, tell func(setup.SubscriptionReplay)) error {
	for after := ""; ; {
		rows, err := s.db.Pool().Query(ctx, heldKeysSQL, s.db.Storable(name), after, keysAtOnce)
		if err != nil {
			return postgres.Translate(err, "look for ordering keys")
		}
		keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(keys) == 0 {
			return postgres.Translate(err, "look for ordering keys")
		}
		if err := s.awaitRoom(ctx, name, tell); err != nil {
			return err
		}
		if _, err := s.db.Pool().Exec(ctx, "SELECT outbox_advance($1)", keys); err != nil {
			return postgres.Translate(err, "give ordering keys their turns")
		}
		after = keys[len(keys)-1]
	}
}
