package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Store has the schedules of a database. Its methods are safe for concurrent use.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
type Store struct{ db *postgres.Database }

var table = stored.SetUp{Table: "outbox_schedules", Noun: "schedule", There: "true"}

// New returns the schedules in db.
func New(db *postgres.Database) *Store { return &Store{db: db} }

const schedulesSQL = `
SELECT id, name, cron, time_zone, missed, event_type, payload, headers, queue, max_retry, timeout_seconds, retention_seconds, unique_seconds,
       coalesce(ordering_key, ''), next_at, last_at, emitted, left_out, failed_at, error, created_at, changed_at, paused_at, paused_by, pause_reason
FROM outbox_schedules`

// List returns all schedules by name.
func (s *Store) List(ctx context.Context) ([]setup.Schedule, error) {
	return s.query(ctx, "list schedules", schedulesSQL+" ORDER BY name")
}

// Find returns the schedule of that name. Errors: domain.CodeNotFound.
func (s *Store) Find(ctx context.Context, name string) (*setup.Schedule, error) {
	found, err := s.query(ctx, fmt.Sprintf("look for schedule %q", name), schedulesSQL+" WHERE name = $1", s.db.Storable(name))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, table.Missing(name)
	}
	return &found[0], nil
}

func (s *Store) query(ctx context.Context, doing, statement string, args ...any) ([]setup.Schedule, error) {
	rows, err := s.db.Pool().Query(ctx, statement, args...)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	list, err := pgx.CollectRows(rows, scanSchedule)
	return list, postgres.Translate(err, doing)
}

func scanSchedule(row pgx.CollectableRow) (setup.Schedule, error) {
	var s setup.Schedule
	var headers []byte
	var timeout, retention, unique *int
	var last, failed, paused *time.Time
	var by, reason string
	e := &s.Event
	if err := row.Scan((*[16]byte)(&s.ID), &s.Name, &s.Cron, &s.TimeZone, &s.Missed, &e.Type, &e.Payload, &headers, &e.Queue, &e.Options.MaxRetry,
		&timeout, &retention, &unique, &e.OrderingKey, &s.Next, &last, &s.Emitted, &s.LeftOut, &failed, &s.Error, &s.CreatedAt, &s.ChangedAt,
		&paused, &by, &reason); err != nil {
		return s, err
	}
	seconds := func(n *int) time.Duration {
		if n == nil {
			return 0
		}
		return time.Duration(*n) * time.Second
	}
	e.Options.Timeout, e.Options.Retention, e.Options.Unique = seconds(timeout), seconds(retention), seconds(unique)
	if last != nil {
		s.Last = *last
	}
	if failed != nil {
		s.FailedAt = *failed
	}
	s.Paused = stored.Paused(paused, by, reason)
	if err := json.Unmarshal(headers, &e.Headers); err != nil {
		return s, fmt.Errorf("read the headers of schedule %q: %w", s.Name, err)
	}
	return s, nil
}

// A schedule that does not differ stays as it is, with its next tick. If the expression
// or the time zone changed, the next tick is computed again. The next tick is never a
// tick that was already emitted.
const applySQL = `
INSERT INTO outbox_schedules AS s (name, cron, time_zone, missed, event_type, payload, headers, queue, max_retry, timeout_seconds, retention_seconds,
    unique_seconds, ordering_key, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, nullif($13, ''), $14)
ON CONFLICT (name) DO UPDATE
SET cron = excluded.cron, time_zone = excluded.time_zone, missed = excluded.missed, event_type = excluded.event_type, payload = excluded.payload,
    headers = excluded.headers, queue = excluded.queue, max_retry = excluded.max_retry, timeout_seconds = excluded.timeout_seconds,
    retention_seconds = excluded.retention_seconds, unique_seconds = excluded.unique_seconds, ordering_key = excluded.ordering_key,
    next_at = CASE WHEN (s.cron, s.time_zone) = (excluded.cron, excluded.time_zone) THEN s.next_at ELSE excluded.next_at END,
    failed_at = NULL, error = '', changed_at = clock_timestamp()
WHERE (s.cron, s.time_zone, s.missed, s.event_type, s.payload, s.headers, s.queue, s.max_retry, s.timeout_seconds, s.retention_seconds, s.unique_seconds, s.ordering_key)
   IS DISTINCT FROM (excluded.cron, excluded.time_zone, excluded.missed, excluded.event_type, excluded.payload, excluded.headers, excluded.queue, excluded.max_retry,
                     excluded.timeout_seconds, excluded.retention_seconds, excluded.unique_seconds, excluded.ordering_key)
RETURNING xmax::text <> '0'`

// Apply adds the schedules that do not exist and changes those that differ: either all of
// them or, after an error, none. It returns what it did to each. Apply leaves other
// schedules and pauses as they are. A new schedule has its first tick after the time at
// which it is applied.
//
// Errors: domain.CodeInvalid if a schedule is wrong. The error names the first such
// schedule, unless only the database finds the fault.
func (s *Store) Apply(ctx context.Context, action *domain.Action, list []setup.Schedule) ([]setup.Applied, error) {
	crons := make([]*Cron, len(list))
	for i := range list {
		var err error
		if crons[i], err = Check(&list[i]); err != nil {
			return nil, err
		}
	}
	changes := make([]setup.Applied, len(list))
	err := stored.Act(ctx, s.db, "apply", action, func(tx pgx.Tx) (int64, error) {
		for i := range list {
			var err error
			if changes[i], err = applyOne(ctx, tx, &list[i], crons[i]); err != nil {
				return 0, err
			}
		}
		return 0, nil
	})
	if state := postgres.SQLState(err); state == "23514" {
		return nil, domain.Wrap(domain.CodeInvalid, err, "a schedule's event could not be delivered: "+err.Error())
	}
	return changes, postgres.Translate(err, "apply schedules")
}

// Check validates a schedule, and returns when it ticks. Errors: domain.CodeInvalid.
func Check(s *setup.Schedule) (*Cron, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	c, err := Parse(s.Cron, s.TimeZone)
	if err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "schedule %q: %v", s.Name, err)
	}
	return c, nil
}

func applyOne(ctx context.Context, tx pgx.Tx, s *setup.Schedule, c *Cron) (setup.Applied, error) {
	headers, err := stored.Headers(s.Event.Headers)
	if err != nil {
		return "", err
	}
	// FOR UPDATE locks the row of the schedule, so that no leader emits a tick until the
	// change is committed.
	var now time.Time
	var last *time.Time
	err = tx.QueryRow(ctx, "SELECT last_at FROM outbox_schedules WHERE name = $1 FOR UPDATE", s.Name).Scan(&last)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", err
	}
	if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
		return "", err
	}
	if last != nil && last.After(now) { // the clock was put back
		now = *last
	}
	o := s.Event.Options
	payload := s.Event.Payload
	if payload == nil {
		payload = []byte{}
	}
	rows, err := tx.Query(ctx, applySQL, s.Name, s.Cron, s.TimeZone, string(s.Missed), s.Event.Type, payload, headers, s.Event.Queue, o.MaxRetry,
		stored.Seconds(o.Timeout), stored.Seconds(o.Retention), stored.Seconds(o.Unique), s.Event.OrderingKey, c.Next(now))
	if err != nil {
		return "", err
	}
	return stored.Applied(rows)
}

// Pause stops a schedule. Its ticks are missed from then on. Errors: domain.CodeNotFound.
func (s *Store) Pause(ctx context.Context, action *domain.Action, name string) error {
	return table.Change(ctx, s.db, "pause", action, name, table.PauseSQL(), s.db.Storable(action.Actor), s.db.Storable(action.Reason))
}

// Resume lets a schedule go on. The schedule's rule for missed ticks decides what happens
// to the ticks during the pause. Errors: domain.CodeNotFound.
func (s *Store) Resume(ctx context.Context, action *domain.Action, name string) error {
	return table.Change(ctx, s.db, "resume", action, name, table.ResumeSQL())
}

// Remove forgets a schedule. Events that it emitted stay. Errors: domain.CodeNotFound.
func (s *Store) Remove(ctx context.Context, action *domain.Action, name string) error {
	return table.Change(ctx, s.db, "remove", action, name, "DELETE FROM outbox_schedules WHERE name = $1")
}
