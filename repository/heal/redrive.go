package heal

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Redriver puts events back into the outbox that were handed to the queue and
// are not confirmed.
type Redriver struct{ db *postgres.Database }

// NewRedriver returns the Redriver of db.
func NewRedriver(db *postgres.Database) *Redriver { return &Redriver{db} }

// A statement of Redrive may put back one in redriveShare of the rows that it
// looks at, so that it holds its locks briefly.
const redriveShare = 10

// The history row is deleted, not copied: an event is in one place at a time, and
// the relay's next claim brings it back. Its task ID stays the same, so if Redis
// still has the task it answers "already there". The event is due at once, with
// its attempts unchanged: that Redis forgot it is no failure of the event.
//
//   - unconfirmed reads the history in the order of its index, from where the last batch
//     ended ($1), beside the inbox in the same order. So all batches together read
//     both once. WITH TIES, because a replayed event has one row for each
//     generation, and an event that was written twice may have two; one of them
//     goes back. A piece ends at $9, because among a million confirmed events
//     there may be none to put back. The limit is written out (%d) for the same
//     reason as that of a claim.
//   - $3 leaves out events whose inbox rows may be trimmed before this ends. $4
//     leaves out events that are sent while this runs: it would never end.
//   - An event that has only deliveries has no task.
//   - A dead letter has ended. A person may replay it.
//   - outboxd.moving says that these events are not emitted again.
//   - Deleting by ctid and a range of sent_at scans tuple identifiers in few
//     partitions. A join with lost alone would read the whole history in each
//     batch.
//
// lostSQL selects up to %d unconfirmed events, from $1 on, dead letters among them.
const lostSQL = `
    SELECT s.tableoid AS part, s.ctid AS place, s.id, s.generation, s.sent_at FROM outbox_sent s
    WHERE s.id > $1::uuid AND s.id <= $9::uuid AND s.sent_at >= $2::timestamptz AND s.sent_at >= now() - $3::float8 * interval '1 second' AND s.sent_at <= $4::timestamptz
      AND (s.event_type <> ALL ($5::text[]) OR s.subscription IS NOT NULL) AND ($6 = '' OR s.event_type = $6) AND s.split IS DISTINCT FROM 'instead'
      AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id AND i.event_id > $1::uuid AND i.event_id <= $9::uuid)
    ORDER BY s.id
    FETCH FIRST %d ROWS WITH TIES
`

// notDeadSQL leaves dead letters out of what lostSQL found. The subquery is compared, so
// that it becomes no hash of all dead letters.
const notDeadSQL = `coalesce((SELECT d.generation FROM outbox_dead d WHERE d.id = unconfirmed.id) < unconfirmed.generation, true)`

var redriveSQL = `
WITH moving AS MATERIALIZED (
    SELECT set_config('outboxd.moving', 'on', true)
), unconfirmed AS MATERIALIZED (` + lostSQL + `), lost AS MATERIALIZED (
    SELECT part, place, id, sent_at FROM unconfirmed WHERE ` + notDeadSQL + `
), gone AS (
    DELETE FROM outbox_sent s
    WHERE s.ctid = ANY (ARRAY(SELECT place FROM lost)) AND (s.tableoid, s.ctid) IN (SELECT part, place FROM lost)
      AND s.sent_at >= (SELECT min(sent_at) FROM lost) AND s.sent_at <= (SELECT max(sent_at) FROM lost)
    RETURNING s.*
` + backSQL + `), noted AS (
    INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) SELECT id, $7, 'redriven', generation, $8 FROM back
)
SELECT (SELECT count(*) FROM back), (SELECT count(*) FROM unconfirmed), (SELECT id FROM unconfirmed ORDER BY id DESC LIMIT 1)`

// Redrive implements lost.QueueMemory. Events whose task only waits for its
// worker go back too; their task IDs make the repeat harmless.
//
// A batch may be claimed before the queue lost its data and commit after the
// history was read. Its rows appear late, with an early sent_at, and would be
// missed. So Redrive notes the transactions with open batches first, waits
// until all of them have ended, and looks again at the rows that they wrote.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (o *Redriver) Redrive(ctx context.Context, window time.Duration, except ...string) (int64, error) {
	return o.redriveFor(ctx, window, except, "the queue may have lost it")
}

// redriveFor is Redrive with a reason for the journal.
func (o *Redriver) redriveFor(ctx context.Context, window time.Duration, except []string, why string) (int64, error) {
	return o.redrive(ctx, redrive{window: window, except: except, stage: domain.StageRelay, why: why})
}

// The rows of gone, which were deleted from the history, go back, one for each event.
// If a producer wrote an event again while it was on its way, the history has it
// twice, or the outbox has it too: the additional row is absorbed.
var backSQL = `), back AS (
    INSERT INTO outbox (` + stored.Columns + `)
    SELECT DISTINCT ON (id) ` + stored.ColumnsWith(map[string]string{"split": stored.Met}) + ` FROM moving, gone ORDER BY id, generation DESC
    ON CONFLICT (id) DO NOTHING
    RETURNING id, generation
), absorbed AS (
    INSERT INTO outbox_entries (event_type, created_at, repeated)
    SELECT event_type, created_at, 1 FROM (
        SELECT event_type, created_at, id, row_number() OVER (PARTITION BY id ORDER BY generation DESC) AS n FROM gone
    ) AS ranked WHERE n > 1 OR NOT EXISTS (SELECT FROM back WHERE back.id = ranked.id)
`

// redrive says which events are put back, and why, for the journal.
type redrive struct {
	window    time.Duration
	except    []string
	eventType string // empty: all
	stage     domain.Stage
	why       string
}

func (o *Redriver) redrive(ctx context.Context, r redrive) (int64, error) {
	if r.except == nil {
		r.except = []string{} // NULL would compare as unknown
	}
	open, err := o.openBatches(ctx)
	if err != nil {
		return 0, err
	}
	total, err := o.redriveSent(ctx, time.Time{}, open.latest, r)
	if err != nil || len(open.transactions) == 0 {
		return total, err
	}
	if err := o.awaitBatches(ctx, open.transactions); err != nil {
		return total, err
	}
	late, err := o.redriveSent(ctx, open.oldest, open.latest, r)
	return total + late, err
}

func (o *Redriver) redriveSent(ctx context.Context, from, until time.Time, r redrive) (int64, error) {
	total, after := int64(0), domain.ID{}
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		back, last, err := o.redriveAround(ctx, after, rows, from, until, r)
		if err != nil {
			return false, err
		}
		total, after = total+back, last
		crashpoint.Reach(crashpoint.HealBatch)
		return after == stored.LastID, nil
	})
	return total, postgres.Translate(err, "put unconfirmed events back")
}

// redriveAround is redrivePiece around an event that the outbox refuses: it tries
// fewer and fewer events until the piece succeeds without that event, or the event
// is found.
func (o *Redriver) redriveAround(ctx context.Context, after domain.ID, rows int, from, until time.Time, r redrive) (back int64, last domain.ID, err error) {
	for limit := max(1, rows/redriveShare); ; limit /= 2 {
		back, last, err = o.redrivePiece(ctx, after, rows, limit, from, until, r)
		switch {
		case !stored.IsOfRow(err) || postgres.IsFleeting(err):
			return back, last, err
		case limit == 1:
			if none := o.backMadeUp(ctx, r); stored.IsOfRow(none) {
				return 0, last, err // a faultless event cannot go back either
			} else if none != nil {
				return 0, last, none
			}
			last, err = o.setSentAside(ctx, after, rows, from, until, r, err)
			return 0, last, err
		}
	}
}

// redrivePiece puts back events after the given one, and returns the last event
// that it looked at.
func (o *Redriver) redrivePiece(ctx context.Context, after domain.ID, rows, limit int, from, until time.Time, r redrive) (back int64, last domain.ID, err error) {
	err = pgx.BeginFunc(ctx, o.db.Pool(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stillPartitionsSQL); err != nil {
			return err
		}
		if after, last, err = stored.PieceBesideInbox(ctx, tx, after, rows, from, r.window); err != nil {
			return err
		}
		var lost int
		var lastLost *domain.ID
		if err := tx.QueryRow(ctx, fmt.Sprintf(redriveSQL, limit), [16]byte(after), from, r.window.Seconds(), until, r.except, r.eventType,
			string(r.stage), r.why, [16]byte(last)).Scan(&back, &lost, &lastLost); err != nil {
			return err
		}
		if lost >= limit {
			last = *lastLost
		}
		return nil
	})
	return back, last, err
}

const backMadeUpSQL = `
WITH moving AS MATERIALIZED (
    SELECT set_config('outboxd.moving', 'on', true)
), back AS (
    INSERT INTO outbox (event_type, payload) SELECT 'outboxd:probe', '' FROM moving RETURNING id
)
INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) SELECT id, $1, 'redriven', 0, $2 FROM back`

// backMadeUp puts a faultless event back, and undoes it.
func (o *Redriver) backMadeUp(ctx context.Context, r redrive) error {
	tx, err := o.db.Pool().Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	_, err = tx.Exec(ctx, backMadeUpSQL, string(r.stage), r.why)
	return err
}

// Sets aside the one event that the outbox refuses. Its rows become a dead
// letter; if even that fails, they stay in the history.
var setSentAsideSQL = `
SELECT outbox_set_aside(part::regclass, place, $7::text || $8::text), id FROM (` + fmt.Sprintf(lostSQL, 1) + `) AS unconfirmed WHERE ` + notDeadSQL

// setSentAside sets the event aside and returns its ID.
func (o *Redriver) setSentAside(ctx context.Context, after domain.ID, rows int, from, until time.Time, r redrive, cause error) (last domain.ID, err error) {
	err = pgx.BeginFunc(ctx, o.db.Pool(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stillPartitionsSQL); err != nil {
			return err
		}
		if after, last, err = stored.PieceBesideInbox(ctx, tx, after, rows, from, r.window); err != nil {
			return err
		}
		found, err := tx.Query(ctx, setSentAsideSQL, [16]byte(after), from, r.window.Seconds(), until, r.except, r.eventType,
			"the outbox does not take the event back: ", o.db.Storable(cause.Error()), [16]byte(last))
		if err != nil {
			return err
		}
		var aside, id *[16]byte
		_, err = pgx.ForEachRow(found, []any{&aside, &id}, func() error {
			last = *id
			o.db.Logger().ErrorContext(ctx, "an event cannot be sent again as it is in the history", "event_id", last, "dead_letter", aside != nil, "error", cause)
			return nil
		})
		return err
	})
	return last, err
}

// Housekeeping moves rows from the default partition to a new one. A statement
// that was planned before that and reads after it would find them in neither.
// This lock keeps the partitions as they are.
const stillPartitionsSQL = `LOCK TABLE ONLY outbox_sent IN SHARE UPDATE EXCLUSIVE MODE`

// openBatches are the transactions that have written to the history and have not ended.
// oldest is when the first of them began. latest is the newest sent_at whose transaction
// has certainly ended.
type openBatches struct {
	transactions   []string
	oldest, latest time.Time
}

// A claim locks the history before it sends anything to the queue, and releases
// the lock after its rows are visible. Most roles may not see when a
// transaction of another user began; then the whole history is read again.
const openBatchesSQL = `
SELECT greatest(clock_timestamp(), max(a.xact_start)), coalesce(array_agg(DISTINCT l.virtualtransaction), '{}'),
       CASE WHEN bool_and(a.xact_start IS NOT NULL) THEN min(a.xact_start) END
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.relation = 'outbox_sent'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// If the clock was set back, the history has rows with a sent_at in the future.
// This is read after the locks, because a transaction that has released its lock
// by then has its rows here. Almost always there are none, in the few partitions
// that could have any.
const latestSentSQL = `SELECT max(sent_at) FROM outbox_sent WHERE id > $1::uuid AND id <= $2::uuid AND sent_at > $3::timestamptz`

// latestSent returns the newest sent_at of the history, or now if that is
// later.
func (o *Redriver) latestSent(ctx context.Context, now time.Time) (time.Time, error) {
	latest, after := now, domain.ID{}
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		last, err := stored.PieceEnd(ctx, o.db.Pool(), after, rows, now, stored.Always)
		if err != nil {
			return false, err
		}
		var found *time.Time
		if err := o.db.Pool().QueryRow(ctx, latestSentSQL, [16]byte(after), [16]byte(last), now).Scan(&found); err != nil {
			return false, err
		}
		if found != nil && found.After(latest) {
			latest = *found
		}
		after = last
		return after == stored.LastID, nil
	})
	return latest, err
}

func (o *Redriver) openBatches(ctx context.Context) (openBatches, error) {
	var open openBatches
	var oldest *time.Time
	err := o.db.Pool().QueryRow(ctx, openBatchesSQL).Scan(&open.latest, &open.transactions, &oldest)
	if err == nil {
		open.latest, err = o.latestSent(ctx, open.latest)
	}
	if oldest != nil {
		open.oldest = *oldest
	}
	return open, postgres.Translate(err, "look for open batches")
}

const (
	batchCheck = 50 * time.Millisecond
	// batchPatience is longer than any batch can last: PostgreSQL ends a batch
	// that idles or waits too long. A transaction that holds the history's lock
	// longer is no batch.
	batchPatience = 5 * time.Minute
)

const stillOpenSQL = `
SELECT EXISTS (SELECT FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'outbox_sent'::regclass AND mode = 'RowExclusiveLock' AND virtualtransaction = ANY ($1::text[]))`

// awaitBatches returns when all of the transactions have ended.
func (o *Redriver) awaitBatches(ctx context.Context, transactions []string) error {
	limit := time.NewTimer(batchPatience)
	defer limit.Stop()
	again := time.NewTicker(batchCheck)
	defer again.Stop()
	for {
		var open bool
		if err := o.db.Pool().QueryRow(ctx, stillOpenSQL, transactions).Scan(&open); err != nil || !open {
			return postgres.Translate(err, "wait for open batches")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			o.db.Logger().WarnContext(ctx, "a transaction locks outbox_sent longer than any batch lasts; the redrive no longer waits for it", "waited", batchPatience)
			return nil
		case <-again.C:
		}
	}
}
