package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// FailedTasks implements domain.FailedTasks.
type FailedTasks struct {
	db        *postgres.Database
	holdsKeys bool
}

// NewFailedTasks returns the FailedTasks of db. holdsKeys is
// OutboxOptions.DeadHoldsKey.
func NewFailedTasks(db *postgres.Database, holdsKeys bool) *FailedTasks {
	return &FailedTasks{db: db, holdsKeys: holdsKeys}
}

var _ domain.FailedTasks = (*FailedTasks)(nil)

// Failed implements domain.FailedTasks.
func (f *FailedTasks) Failed(ctx context.Context, task domain.FailedTask) error {
	_, err := f.db.Pool().Exec(ctx, stored.JournalSQL, f.note(&task, "failed", nil)...)
	return postgres.Translate(err, "enter a failed attempt into the journal")
}

// retriedSQL is JournalSQL for the events that this database knows. Other programs may use the same Redis.
var retriedSQL = stored.JournalSQL + `
WHERE ` + stored.Places.Have("noted.id") + `
   OR EXISTS (SELECT FROM inbox i WHERE i.event_id = noted.id) OR EXISTS (SELECT FROM outbox_journal j WHERE j.event_id = noted.id)`

// Retried implements domain.FailedTasks.
func (f *FailedTasks) Retried(ctx context.Context, events []domain.Event, by *domain.Action) error {
	var j stored.Journal
	for i := range events {
		j.Add(&events[i], "retried", stored.ByWhom(f.db, by))
	}
	_, err := f.db.Pool().Exec(ctx, retriedSQL, j.Args(domain.StagePerson)...)
	return postgres.Translate(err, "enter a retry into the journal")
}

// note returns the arguments of JournalSQL for an entry about a task. If a person gave the task up, an entry with the
// person's name comes first. sent is as in stored.Journal.AddSent.
func (f *FailedTasks) note(task *domain.FailedTask, entry string, sent *time.Time) []any {
	var j stored.Journal
	f.addPerson(&j, task)
	e := task.Event
	e.Attempts = task.Attempt
	j.AddSent(&e, entry, f.db.ErrorText(task.Err), sent)
	return j.Args(stageOf(task))
}

func (f *FailedTasks) addPerson(j *stored.Journal, task *domain.FailedTask) {
	if task.By == nil {
		return
	}
	e := task.Event
	e.Attempts = 0
	j.Add(&e, lives.EntryGivenUp, stored.ByWhom(f.db, task.By))
}

func stageOf(task *domain.FailedTask) domain.Stage {
	if task.By != nil {
		return domain.StagePerson
	}
	return domain.StageWorker
}

// Each statement of Bury waits at most lockPatience for a transaction that confirms, cancels or moves the event. If the
// database must know the event, the caller has many events to bury and comes back, so Bury waits only recordPatience.
const (
	lockPatience   = 500 * time.Millisecond
	recordPatience = 100 * time.Millisecond
)

// Bury implements domain.FailedTasks.
func (f *FailedTasks) Bury(ctx context.Context, task domain.FailedTask, onRecord bool) (domain.Burial, error) {
	burial, patience := domain.NotOnRecord, lockPatience
	if onRecord {
		patience = recordPatience
	}
	err := pgx.BeginFunc(ctx, f.db.Pool(), func(tx pgx.Tx) (err error) {
		if _, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", postgres.Milliseconds(patience)); err != nil {
			return fmt.Errorf("limit the wait for other transactions: %w", err)
		}
		confirmed, err := isConfirmed(ctx, tx, task.ID)
		if err != nil || confirmed {
			burial = domain.ConfirmedOnce
			return err
		}
		var sent *time.Time
		if burial, sent, err = f.move(ctx, tx, &task, onRecord); err != nil {
			return err
		}
		if burial == domain.BuriedBefore && task.By != nil {
			return f.claimBurial(ctx, tx, &task)
		}
		if burial != domain.Buried {
			return err
		}
		if _, err := tx.Exec(ctx, stored.JournalSQL, f.note(&task, "died", sent)...); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
		if !f.holdsKeys {
			_, err = tx.Exec(ctx, "SELECT outbox_pass_turn($1)", [16]byte(task.ID))
		}
		return err
	})
	switch postgres.SQLState(err) {
	case postgres.TooEarly:
		return domain.BuriedEarly, nil
	case postgres.LockTimeout:
		return domain.BusyElsewhere, nil
	}
	return burial, postgres.Translate(err, fmt.Sprintf("move event %s to the dead letters", task.ID))
}

// claimedSQL changes the stage of a dead letter that was made of a worker's task: a person gave the task up.
const claimedSQL = `UPDATE outbox_dead SET stage = 'person' WHERE id = $1 AND generation = $2 AND stage = 'worker'`

// claimBurial records that a person gave up the task of an event that is dead already: the leader may find the
// archived task before the person's command records that.
func (f *FailedTasks) claimBurial(ctx context.Context, tx pgx.Tx, task *domain.FailedTask) error {
	tag, err := tx.Exec(ctx, claimedSQL, [16]byte(task.ID), task.Generation)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	var j stored.Journal
	f.addPerson(&j, task)
	_, err = tx.Exec(ctx, stored.JournalSQL, j.Args(domain.StagePerson)...)
	return err
}

// isConfirmed reports whether the event took effect. If a transaction is confirming the event now,
// isConfirmed waits for its end: Asynq gives a task up when the deadline of its last attempt is
// reached, although the handler may still be about to commit.
func isConfirmed(ctx context.Context, tx pgx.Tx, id domain.ID) (confirmed bool, err error) {
	if err := tx.QueryRow(ctx, "SELECT outbox_is_confirmed($1)", [16]byte(id)).Scan(&confirmed); err != nil {
		return false, fmt.Errorf("look into the inbox: %w", err)
	}
	return confirmed, nil
}

// whereIsSQL is one statement, so it has one snapshot: if an event moves at the same time,
// the statement finds it either in its old table or in its new one. The event may have
// several rows, such as older generations in the history. Then the newest generation
// counts. A dead letter counts only if no other table has the event.
var whereIsSQL = `
SELECT state, generation FROM (
    ` + buriable.Union(`SELECT {state} AS state, generation FROM {table} WHERE id = $1`) + `
) AS places ORDER BY state = 'dead', generation DESC LIMIT 1`

// buriable has the tables in which move looks for an event. A suppressed event has no
// task, and the task of a cancelled event has no effect.
var buriable = stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateDead)

// burySQL moves an event from a table (the first %s) to the dead letters, and returns when it had been handed to
// Redis (the second %s). An event that a producer wrote more than once may have several rows, or may already be
// dead. If there are several rows, one dead letter of the event stays, and the account counts the other rows as
// repeats. $5 is true for an event of the outbox: it may never have been claimed, so it keeps its value of split.
// $6 is the stage that gave the event up.
var burySQL = `
WITH gone AS (
    DELETE FROM %s WHERE id = $1 AND generation <= $2 RETURNING ` + stored.Columns + `, %s AS sent_at
), ranked AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY generation DESC) AS n FROM gone
), dead AS (
    INSERT INTO outbox_dead AS d (` + stored.Columns + `, error, stage, died_at)
    SELECT ` + stored.ColumnsWith(map[string]string{"attempts": "$3::integer", "generation": "$2", "split": "CASE WHEN $5 THEN split ELSE " + stored.Met + " END"}) + `, $4, $6, clock_timestamp()
    FROM ranked WHERE n = 1
    ON CONFLICT (id) DO UPDATE
    SET generation = greatest(d.generation, excluded.generation), attempts = excluded.attempts, stage = excluded.stage, error = excluded.error, died_at = excluded.died_at
    RETURNING xmax::text <> '0' AS repeats
), absorbed AS (
    INSERT INTO outbox_entries (event_type, created_at, repeated)
    SELECT event_type, created_at, 1 FROM ranked, dead WHERE n > 1 OR repeats
)
SELECT count(*), max(sent_at) FROM gone`

// buryAttempts is how often move looks for an event that moves to another table in
// between. An event moves a few times in its life.
const buryAttempts = 10

// move moves an event to the dead letters, from whichever table has it.
//
// A fast worker may report a task before the relay has committed the claim that published the task. Until that
// commit, the event is still in the outbox. The deletion from the outbox waits for the relay and deletes nothing,
// because the relay has moved the event to the history; the next attempt finds the event there. If the relay rolled
// back its claim instead, the deletion removes the event from the outbox. If the event stayed in the outbox, the
// relay would publish it again, and Asynq would answer that its archived task already exists.
//
// The result sent is the time at which the event was handed over to Redis; nil if the history did not have the event.
func (f *FailedTasks) move(ctx context.Context, tx pgx.Tx, task *domain.FailedTask, onRecord bool) (burial domain.Burial, sent *time.Time, err error) {
	for range buryAttempts {
		var state lives.State
		var generation int
		err = tx.QueryRow(ctx, whereIsSQL, [16]byte(task.ID)).Scan(&state, &generation)
		switch {
		case errors.Is(err, pgx.ErrNoRows) && onRecord:
			return domain.NotOnRecord, nil, nil
		case errors.Is(err, pgx.ErrNoRows):
			burial, err = f.writeDown(ctx, tx, task)
			return burial, nil, err
		case err != nil:
			return 0, nil, fmt.Errorf("look for the event: %w", err)
		case state == lives.StateDead && generation >= task.Generation:
			return domain.BuriedBefore, nil, nil
		case generation > task.Generation:
			return domain.Superseded, nil, nil
		}
		sentAt := "NULL::timestamptz"
		if state == lives.StateInFlight {
			sentAt = "sent_at"
		}
		var moved int
		err = tx.QueryRow(ctx, fmt.Sprintf(burySQL, buriable.Table(state), sentAt), [16]byte(task.ID), task.Generation, task.Attempt, f.db.ErrorText(task.Err), state == lives.StatePending, string(stageOf(task))).Scan(&moved, &sent)
		if err != nil {
			return 0, nil, fmt.Errorf("take the event, which was %s, to the dead letters: %w", state, err)
		}
		if moved > 0 {
			return domain.Buried, sent, nil
		}
	}
	return 0, nil, domain.Errorf(domain.CodeUnavailable, "event %s keeps moving from table to table", task.ID)
}

var writeDownSQL = `
INSERT INTO outbox_dead (` + stored.Columns + `, error, stage, died_at)
SELECT dead.*, ` + stored.Beyond + `, clock_timestamp() FROM ` + stored.Unnest + stored.Beside + `::text[]) AS dead (` + stored.Columns + `, error)
ON CONFLICT (id) DO NOTHING`

// The account has already counted the event as gone: as trimmed with the history, or as
// unrecorded. correctAccountSQL subtracts the event there, on the day that the dead
// letter has, so that the sum of each day stays right even if that day is a guess.
const correctAccountSQL = `
WITH trimmed AS (
    UPDATE outbox_account SET unconfirmed = unconfirmed - 1
    WHERE day = ($2::timestamptz AT TIME ZONE 'UTC')::date AND event_type = $1 AND unconfirmed > 0
    RETURNING 1
)
INSERT INTO outbox_entries (event_type, created_at, unrecorded)
SELECT $1, date_trunc('day', $2::timestamptz, 'UTC'), -1 WHERE NOT EXISTS (SELECT FROM trimmed)`

// writeDown makes a dead letter from the task of an event that none of the tables of
// buriable has any more. A task has no ordering key. If the event still has the turn of a
// key in outbox_turns, writeDown takes the key from there; otherwise the dead letter has
// none.
func (f *FailedTasks) writeDown(ctx context.Context, tx pgx.Tx, task *domain.FailedTask) (domain.Burial, error) {
	e := task.Event
	e.Attempts, e.Split = task.Attempt, domain.SplitDone
	if made, ok := e.ID.Time(); ok {
		e.CreatedAt = made
	} else {
		e.CreatedAt = time.Now()
	}
	e.Available = e.CreatedAt
	var rows stored.Rows
	rows.Add(&e)
	tag, err := tx.Exec(ctx, writeDownSQL, append(rows.Args(), []string{f.db.ErrorText(task.Err)}, string(stageOf(task)))...)
	if err != nil {
		return 0, fmt.Errorf("write the event down: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return domain.BuriedBefore, nil
	}
	const keySQL = `UPDATE outbox_dead d SET ordering_key = t.ordering_key FROM outbox_turns t WHERE d.id = $1 AND t.event_id = d.id`
	if _, err := tx.Exec(ctx, keySQL, [16]byte(e.ID)); err != nil {
		return 0, fmt.Errorf("look for the event's ordering key: %w", err)
	}
	if _, err := tx.Exec(ctx, correctAccountSQL, e.Type, e.CreatedAt); err != nil {
		return 0, fmt.Errorf("correct the account: %w", err)
	}
	return domain.Buried, nil
}

var unburiedSQL = `
SELECT id FROM unnest($1::uuid[]) AS asked (id)
WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = asked.id)
  AND ` + stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateInFlight).Have("asked.id")

// Unburied implements domain.FailedTasks.
func (f *FailedTasks) Unburied(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	const doing = "look for events that were given up"
	rows, err := f.db.Pool().Query(ctx, unburiedSQL, postgres.UUIDs(ids))
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (id domain.ID, err error) {
		err = row.Scan((*[16]byte)(&id))
		return id, err
	})
	return list, postgres.Translate(err, doing)
}
