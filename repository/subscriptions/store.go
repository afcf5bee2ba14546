package subscriptions

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Store keeps the subscriptions of a database. Its methods are safe for
// concurrent use.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
type Store struct{ db *postgres.Database }

var table = stored.SetUp{Table: "outbox_subscriptions", Noun: "subscription", There: "removed_at IS NULL"}

// New returns the subscriptions in db.
func New(db *postgres.Database) *Store { return &Store{db: db} }

const subscriptionsSQL = `
SELECT id, name, types, headers, url, secrets, format, timeout_ms, concurrency, rate, attempts, retry_max_ms, ordering, instead_of_queue,
       created_at, changed_at, paused_at, paused_by, pause_reason, removed_at,
       CASE WHEN down_until > clock_timestamp() THEN down_since END, down_reason
FROM outbox_subscriptions`

// List returns all subscriptions in the order of their names, including removed
// ones.
func (s *Store) List(ctx context.Context) ([]setup.Subscription, error) {
	rows, err := s.db.Pool().Query(ctx, subscriptionsSQL+" ORDER BY name")
	if err != nil {
		return nil, postgres.TranslateWork(err, "list subscriptions")
	}
	list, err := pgx.CollectRows(rows, scanSubscription)
	return list, postgres.TranslateWork(err, "list subscriptions")
}

// Names returns the names of all subscriptions, without removed ones.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	rows, err := s.db.Pool().Query(ctx, "SELECT name FROM outbox_subscriptions WHERE removed_at IS NULL ORDER BY name")
	if err != nil {
		return nil, postgres.TranslateWork(err, "list subscriptions")
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, postgres.TranslateWork(err, "list subscriptions")
}

// Find returns the subscription of that name, even if it was removed. Errors:
// domain.CodeNotFound.
func (s *Store) Find(ctx context.Context, name string) (*setup.Subscription, error) {
	found, err := findIn(ctx, s.db.Pool(), s.db.Storable(name))
	switch {
	case err != nil:
		return nil, postgres.Translate(err, fmt.Sprintf("look for subscription %q", name))
	case found == nil:
		return nil, table.Missing(name)
	}
	return found, nil
}

// findIn returns the subscription of that name, or nil if there is none.
func findIn(ctx context.Context, q interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, name string,
) (*setup.Subscription, error) {
	rows, err := q.Query(ctx, subscriptionsSQL+" WHERE name = $1", name)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, scanSubscription)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func scanSubscription(row pgx.CollectableRow) (setup.Subscription, error) {
	var s setup.Subscription
	var headers []byte
	var timeout, retryMax int64
	var pausedAt, removedAt, downSince *time.Time
	var by, reason string
	var down setup.ReceiverDown
	if err := row.Scan((*[16]byte)(&s.ID), &s.Name, &s.Types, &headers, &s.URL, &s.Secrets, &s.Format, &timeout, &s.Concurrency, &s.Rate, &s.Attempts,
		&retryMax, &s.Ordering, &s.InsteadOfQueue, &s.CreatedAt, &s.ChangedAt, &pausedAt, &by, &reason, &removedAt, &downSince, &down.Reason); err != nil {
		return s, err
	}
	s.Timeout, s.RetryMax = time.Duration(timeout)*time.Millisecond, time.Duration(retryMax)*time.Millisecond
	s.Paused = stored.Paused(pausedAt, by, reason)
	if removedAt != nil {
		s.RemovedAt = *removedAt
	}
	if downSince != nil {
		down.Since = *downSince
		s.Down = &down
	}
	if err := json.Unmarshal(headers, &s.Headers); err != nil {
		return s, fmt.Errorf("read the headers of subscription %q: %w", s.Name, err)
	}
	return s, nil
}

// A removed subscription that is applied again counts as a new one: it gets another ID.
const applySQL = `
INSERT INTO outbox_subscriptions AS s (name, types, patterns, headers, url, secrets, format, timeout_ms, concurrency, rate, attempts, retry_max_ms, ordering, instead_of_queue)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (name) DO UPDATE
SET types = excluded.types, patterns = excluded.patterns, headers = excluded.headers, url = excluded.url, secrets = excluded.secrets,
    format = excluded.format, timeout_ms = excluded.timeout_ms, concurrency = excluded.concurrency, rate = excluded.rate,
    attempts = excluded.attempts, retry_max_ms = excluded.retry_max_ms, ordering = excluded.ordering,
    instead_of_queue = excluded.instead_of_queue, changed_at = now(),
    id = CASE WHEN s.removed_at IS NULL THEN s.id ELSE excluded.id END,
    created_at = CASE WHEN s.removed_at IS NULL THEN s.created_at ELSE excluded.created_at END, removed_at = NULL
WHERE s.removed_at IS NOT NULL OR (s.types, s.headers, s.url, s.secrets, s.format, s.timeout_ms, s.concurrency, s.rate, s.attempts, s.retry_max_ms, s.ordering, s.instead_of_queue)
   IS DISTINCT FROM (excluded.types, excluded.headers, excluded.url, excluded.secrets, excluded.format, excluded.timeout_ms, excluded.concurrency,
                     excluded.rate, excluded.attempts, excluded.retry_max_ms, excluded.ordering, excluded.instead_of_queue)
RETURNING xmax::text <> '0'`

// keepFormerSQL keeps the former ID of a removed subscription, because
// outbox_deliveries_of finds its deliveries by that ID.
const keepFormerSQL = `
INSERT INTO outbox_former_subscriptions (id, name, removed_at) SELECT id, name, removed_at FROM outbox_subscriptions WHERE name = $1 AND removed_at IS NOT NULL
ON CONFLICT (id) DO UPDATE SET removed_at = excluded.removed_at`

// Apply adds subscriptions that do not exist and changes those that differ: either all of
// them or, after an error, none. It returns what it did to each. Apply leaves other
// subscriptions and pauses as they are. Changed types or headers apply to events that the
// relay claims from now on.
//
// Errors: domain.CodeInvalid for the first invalid subscription.
func (s *Store) Apply(ctx context.Context, action *domain.Action, list []setup.Subscription) ([]setup.Applied, error) {
	return s.apply(ctx, action, list, time.Time{})
}

// ApplyAndReplay does what Apply does, and begins to send each of the subscriptions the
// events that were emitted since a time; see BeginReplay.
func (s *Store) ApplyAndReplay(ctx context.Context, action *domain.Action, list []setup.Subscription, since time.Time) ([]setup.Applied, error) {
	return s.apply(ctx, action, list, since)
}

// apply begins no replay if the given time is zero. The replay begins in the transaction
// that adds the subscription, so that no delivery of a later event comes before the
// replayed deliveries of the same ordering key.
func (s *Store) apply(ctx context.Context, action *domain.Action, list []setup.Subscription, since time.Time) ([]setup.Applied, error) {
	for i := range list {
		if err := list[i].Validate(); err != nil {
			return nil, err
		}
	}
	changes := make([]setup.Applied, len(list))
	err := stored.Act(ctx, s.db, "apply", action, func(tx pgx.Tx) (int64, error) {
		for i := range list {
			var err error
			if changes[i], err = applyOne(ctx, tx, &list[i]); err != nil {
				return 0, err
			}
			if since.IsZero() {
				continue
			}
			if err := s.beginReplay(ctx, tx, action, list[i].Name, since); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	return changes, postgres.Translate(err, "apply subscriptions")
}

func applyOne(ctx context.Context, tx pgx.Tx, s *setup.Subscription) (setup.Applied, error) {
	kept, err := tx.Exec(ctx, keepFormerSQL, s.Name)
	if err != nil {
		return "", err
	}
	removed := kept.RowsAffected() > 0
	headers, err := stored.Headers(s.Headers)
	if err != nil {
		return "", err
	}
	rows, err := tx.Query(ctx, applySQL, s.Name, s.Types, patterns(s), headers, s.URL, append([]string{}, s.Secrets...), s.Format, s.Timeout.Milliseconds(),
		s.Concurrency, s.Rate, s.Attempts, s.RetryMax.Milliseconds(), s.Ordering, s.InsteadOfQueue)
	if err != nil {
		return "", err
	}
	change, err := stored.Applied(rows)
	if removed && change == setup.AppliedChanged {
		change = setup.AppliedAdded
	}
	return change, err
}

// patterns returns the event types of a subscription as patterns for SQL's LIKE.
func patterns(s *setup.Subscription) []string {
	list := make([]string, len(s.Types))
	for i, t := range s.Types {
		list[i] = setup.TypePattern(t)
	}
	return list
}

const removeSQL = `
WITH replay AS (
    DELETE FROM outbox_replays WHERE subscription = $1 RETURNING action_id, ended_at
), stopped AS (
    UPDATE outbox_actions SET outcome = 'stopped', cause = 'the subscription was removed' FROM replay WHERE id = action_id AND ended_at IS NULL
)
UPDATE outbox_subscriptions SET removed_at = clock_timestamp(), paused_at = NULL, paused_by = '', pause_reason = '' WHERE name = $1 AND removed_at IS NULL`

// Pause stops the sending of a subscription's deliveries. It records the reason of the
// action. The relay still makes deliveries, and they wait. Errors: domain.CodeNotFound.
func (s *Store) Pause(ctx context.Context, action *domain.Action, name string) error {
	return table.Change(ctx, s.db, "pause", action, name, table.PauseSQL(), s.db.Storable(action.Actor), s.db.Storable(action.Reason))
}

// PauseReceiver pauses a subscription because of an answer of its receiver. PauseReceiver
// does nothing and returns false if the subscription has another URL by now or no longer
// exists.
func (s *Store) PauseReceiver(ctx context.Context, action *domain.Action, of *setup.Subscription) (bool, error) {
	// With another URL, or a name that was used again, the receiver is another one.
	err := table.Change(ctx, s.db, "pause", action, of.Name, table.PauseSQL()+" AND id = $4 AND url = $5", s.db.Storable(action.Actor), s.db.Storable(action.Reason), of.ID, of.URL)
	if domain.ErrorCode(err) == domain.CodeNotFound {
		return false, nil
	}
	return err == nil, err
}

// Resume ends a pause: the waiting deliveries are sent. Errors: domain.CodeNotFound.
func (s *Store) Resume(ctx context.Context, action *domain.Action, name string) error {
	return table.Change(ctx, s.db, "resume", action, name, table.ResumeSQL())
}

// Remove ends a subscription: the relay makes no more deliveries to it. Deliveries that
// already exist wait until somebody cancels them or applies the subscription again.
// Errors: domain.CodeNotFound.
func (s *Store) Remove(ctx context.Context, action *domain.Action, name string) error {
	return table.Change(ctx, s.db, "remove", action, name, removeSQL)
}

// Several workers may report that a receiver is down. down_since is the earliest time since which
// the receiver is down, according to the reports that are still valid.
const (
	downSQL = `
UPDATE outbox_subscriptions SET down_reason = $2, down_until = clock_timestamp() + $4 * interval '1 second',
    down_since = least(CASE WHEN down_until > clock_timestamp() THEN down_since END, clock_timestamp() - $3 * interval '1 second')
WHERE id = $1`
	upSQL = `UPDATE outbox_subscriptions SET down_since = NULL, down_until = NULL, down_reason = '' WHERE id = $1 AND down_until IS NOT NULL`
)

// Down records that the receiver of a subscription is down, for how long it has been
// down, and why. The record is valid for the time validFor, unless Down or Up is called
// before.
func (s *Store) Down(ctx context.Context, sub *setup.Subscription, downFor time.Duration, why string, validFor time.Duration) error {
	_, err := s.db.Pool().Exec(ctx, downSQL, sub.ID, s.db.Storable(why), downFor.Seconds(), validFor.Seconds())
	return postgres.TranslateWork(err, "note that a receiver is down")
}

// Up records that the receiver of a subscription works again.
func (s *Store) Up(ctx context.Context, of *setup.Subscription) error {
	_, err := s.db.Pool().Exec(ctx, upSQL, of.ID)
	return postgres.TranslateWork(err, "note that a receiver works again")
}
