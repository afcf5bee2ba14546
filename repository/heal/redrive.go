package heal

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/domain/lost"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Redriver puts events back into the outbox that were published and are not confirmed.
type Redriver struct{ db *postgres.Database }

// NewRedriver returns the Redriver of db.
func NewRedriver(db *postgres.Database) *Redriver { return &Redriver{db} }

// Each statement of Redrive puts back at most a tenth (redriveShare) of the rows that it
// reads, so that it holds its row locks only briefly.
const redriveShare = 10

// lostSQL selects up to %d rows of the history whose events are not confirmed, including
// rows of dead events.
//
//   - It reads the history in the order of its index, from the place where the last batch
//     ended ($1), and the inbox in the same order. So all batches together read the
//     history and the inbox once. WITH TIES is there because a replayed event has one row
//     for each generation, and an event that was written twice may have two rows. Only one
//     of the rows goes back. A piece ends at ID $7, because there may be a million
//     confirmed events in a row and nothing to put back. The limit is a number in the text
//     (%d), for the same reason as in a claim: for a parameter the planner would assume a
//     tenth of the table.
//   - $3 leaves out old events, because the housekeeping may delete their inbox rows
//     before the redrive ends. $4 leaves out events that the relay publishes during the
//     redrive. Otherwise the redrive would never end.
//   - An event that has only deliveries has no task, so it is left out.
//   - $8 leaves out the queues that lost nothing. But if the acknowledgements are lost
//     too ($9), events whose consumers acknowledge them go back from every queue.
const lostSQL = `
    SELECT s.tableoid AS part, s.ctid AS place, s.id, s.generation, s.sent_at FROM outbox_sent s
    WHERE s.id > $1::uuid AND s.id <= $7::uuid AND s.sent_at >= $2::timestamptz AND s.sent_at >= now() - $3::float8 * interval '1 second' AND s.sent_at <= $4::timestamptz
      AND (s.event_type <> ALL ($5::text[]) OR s.subscription IS NOT NULL) AND ($6 = '' OR s.event_type = $6) AND s.split IS DISTINCT FROM 'instead'
      AND (s.queue <> ALL ($8::text[]) OR $9 AND s.event_type = ANY (ARRAY(SELECT unnest(elsewhere) FROM outbox_queue_identity)))
      AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id AND i.event_id > $1::uuid AND i.event_id <= $7::uuid)
    ORDER BY s.id
    FETCH FIRST %d ROWS WITH TIES
`

// notDeadSQL leaves out the rows of lostSQL whose event is dead in the same or a later
// generation. The subquery gives one value that is compared, so that PostgreSQL does not
// read all dead letters into a hash table.
const notDeadSQL = `coalesce((SELECT d.generation FROM outbox_dead d WHERE d.id = unconfirmed.id) < unconfirmed.generation, true)`

// redriveSQL deletes the row from the history, because an event is in one place at a
// time. The relay's next claim moves the event to the history again. The event keeps its
// task ID, so if Redis still has the task, Redis answers that it is already there. The
// event is due at once and keeps its number of attempts: a loss in Redis is no failure of
// the event.
//
//   - Dead letters are left out: a person may replay them.
//   - outboxd.moving says that these events return to the outbox: the account does not
//     count them as emitted again.
var redriveSQL = `
WITH moving AS MATERIALIZED (
    SELECT set_config('outboxd.moving', 'on', true)
), unconfirmed AS MATERIALIZED (` + lostSQL + `), lost AS MATERIALIZED (
    SELECT part, place, sent_at FROM unconfirmed WHERE ` + notDeadSQL + `
` + backSQL + `), noted AS (
    INSERT INTO outbox_journal (event_id, stage, entry, generation, detail, sent_at) SELECT id, $10, 'redriven', generation, $11, sent_at FROM was WHERE is_back
)
` + movedSQL + `, (SELECT count(*) FROM unconfirmed), (SELECT id FROM unconfirmed ORDER BY id DESC LIMIT 1)`

// Redrive puts back the events that were published within the window and are neither
// confirmed nor dead, and returns how many. The parameter except has the event types that no
// consumer confirms: of these only deliveries go back. Redrive also puts back an event whose
// task still waits for a worker. That is harmless: Redis refuses a second task with the same
// task ID.
//
// The relay may claim a batch before the queue loses its data, and commit it after
// Redrive has read the history. The rows of that batch appear late, with an early
// sent_at, and Redrive would miss them. So Redrive notes which transactions have open
// batches before it reads the history. Afterwards it waits until all of these have ended,
// and reads the rows that they wrote.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
func (o *Redriver) Redrive(ctx context.Context, window time.Duration, except ...string) (int64, error) {
	return o.redrive(ctx, redrive{window: window, except: except, stage: domain.StageRelay, why: "the queue may have lost it"})
}

// backSQL moves the rows that "lost" names from the history to the outbox. It leaves out
// rows that another transaction has locked, for example because it has cancelled the
// event: such a transaction may stay open for hours. Of several rows of an event, backSQL
// inserts the one with the highest generation. If a producer wrote the event again and that
// row is still in the outbox, backSQL inserts none. The account counts the rows that are
// not inserted as repeats.
//
// The row that the outbox already has is locked, although it is not changed, so that no
// relay claims it before this transaction ends. Otherwise a relay could claim and hold
// that row, and outbox_absorb could remove it, because outbox_absorb still sees the row
// of the history that this transaction deletes. Then no row of the event would be left.
//
// "was" says when each event had been handed over, for the journal. IN stands in its list
// of columns, where PostgreSQL always makes a hash table of it. A join would compare every
// row with every other, because the planner expects one row.
var backSQL = `), free AS MATERIALIZED (
    SELECT s.tableoid AS part, s.ctid AS place FROM outbox_sent s WHERE ` + isLostSQL + ` FOR UPDATE SKIP LOCKED
), locked AS MATERIALIZED (
    SELECT part, place FROM lost EXCEPT SELECT part, place FROM free
), gone AS (
    DELETE FROM outbox_sent s WHERE ` + isLostSQL + ` AND (s.tableoid, s.ctid) NOT IN (SELECT part, place FROM locked)
    RETURNING s.*
), back AS (
    INSERT INTO outbox (` + stored.Columns + `)
    SELECT DISTINCT ON (id) ` + stored.ColumnsWith(map[string]string{"split": stored.Met}) + ` FROM moving, gone ORDER BY id, generation DESC
    ON CONFLICT (id) DO UPDATE SET generation = excluded.generation WHERE false
    RETURNING id
), was AS MATERIALIZED (
    SELECT id, max(generation) AS generation, max(sent_at) AS sent_at, id IN (SELECT id FROM back) AS is_back FROM gone GROUP BY id
), absorbed AS (
    INSERT INTO outbox_entries (event_type, created_at, repeated)
    SELECT event_type, created_at, 1 FROM (
        SELECT event_type, created_at, id, row_number() OVER (PARTITION BY id ORDER BY generation DESC) AS n FROM gone
    ) AS ranked WHERE n > 1 OR NOT EXISTS (SELECT FROM back WHERE back.id = ranked.id)
`

// isLostSQL is true for the rows that "lost" names. A condition on ctid and a range of
// sent_at reads single rows in few partitions. A join with lost would read the whole
// history, or compare every row with every other; IS TRUE prevents such a join.
const isLostSQL = `s.ctid = ANY (ARRAY(SELECT place FROM lost)) AND ((s.tableoid, s.ctid) IN (SELECT part, place FROM lost)) IS TRUE
      AND s.sent_at >= (SELECT min(sent_at) FROM lost) AND s.sent_at <= (SELECT max(sent_at) FROM lost)`

// movedSQL selects the fields of moved.
const movedSQL = `SELECT (SELECT count(*) FROM back), (SELECT count(*) FROM locked)`

// moved says what became of lost events: how many went back, and how many rows of the
// history stay because another transaction has locked them.
type moved struct{ back, locked int64 }

func (m *moved) add(more moved) {
	m.back += more.back
	m.locked += more.locked
}

// redrive says which events to put back, and has the reason for the journal.
type redrive struct {
	window    time.Duration
	from      time.Time // only events that were sent from then on
	until     time.Time // and up to then
	except    []string
	eventType string // empty: all
	stage     domain.Stage
	why       string
	slots     *lost.Slots // of a Redis Cluster, which lost their data; nil: all
}

func (o *Redriver) redrive(ctx context.Context, r redrive) (int64, error) {
	if r.except == nil {
		r.except = []string{} // NULL would compare as unknown
	}
	open, err := o.openBatches(ctx)
	if err != nil {
		return 0, err
	}
	r.until = open.latest
	total, err := o.redriveSent(ctx, r)
	if err != nil {
		return total.back, err
	}
	r.from = open.oldest
	if total.locked > 0 {
		// A transaction that has locked an event also counts as an open batch. The event
		// may be older than the transaction.
		now, err := o.openBatches(ctx)
		if err != nil {
			return total.back, err
		}
		open.transactions, r.from = append(open.transactions, now.transactions...), time.Time{}
	}
	if len(open.transactions) == 0 {
		return total.back, nil
	}
	if err := o.awaitBatches(ctx, open.transactions); err != nil {
		return total.back, err
	}
	late, err := o.redriveSent(ctx, r)
	if late.locked > 0 {
		o.db.Logger().WarnContext(ctx, "the redrive leaves out events that other transactions have locked", "events", late.locked)
	}
	return total.back + late.back, err
}

func (o *Redriver) redriveSent(ctx context.Context, r redrive) (moved, error) {
	total, after := moved{}, domain.ID{}
	err := postgres.InPieces(ctx, postgres.LargestPiece, func(rows int) (done bool, err error) {
		for try := 1; ; try++ {
			events, last, err := o.redriveAround(ctx, after, rows, r)
			if total.add(events); err == nil {
				after = last
				crashpoint.Reach(crashpoint.HealBatch)
				return after == stored.LastID, nil
			}
			// A heal that fails begins at the first event again. The piece can be repeated even if
			// it was committed: what went back is no longer in the history.
			if try >= postgres.StaleConnections || !postgres.IsConnectionLost(err) && !postgres.IsFleeting(err) || ctx.Err() != nil {
				return false, err
			}
			o.db.Logger().DebugContext(ctx, "a piece of a redrive failed, trying again", "try", try, "error", err)
		}
	})
	return total, postgres.Translate(err, "put unconfirmed events back")
}

// redriveAround puts back a piece in which the outbox may refuse events. It returns the
// last ID that it read.
func (o *Redriver) redriveAround(ctx context.Context, after domain.ID, rows int, r redrive) (events moved, last domain.ID, err error) {
	events, last, err = o.redrivePiece(ctx, after, rows, r)
	switch {
	case err == nil:
		return events, last, nil
	case !stored.IsOfRow(err), postgres.IsFleeting(err):
		return moved{}, last, err
	}
	ids, last, err := o.lostEvents(ctx, after, rows, r)
	if err != nil {
		return moved{}, last, err
	}
	events, err = NewMissingEvents(o.db).resend(ctx, ids, r)
	return events, last, err
}

// redrivePiece puts back events whose IDs follow the given one, and returns the last ID
// that it read.
func (o *Redriver) redrivePiece(ctx context.Context, after domain.ID, rows int, r redrive) (events moved, last domain.ID, err error) {
	last, err = o.readPiece(ctx, after, rows, r, func(tx pgx.Tx, limit int, lost []any) (unconfirmed int, lastLost *domain.ID, err error) {
		err = tx.QueryRow(ctx, fmt.Sprintf(redriveSQL, limit), append(lost, string(r.stage), r.why)...).Scan(&events.back, &events.locked, &unconfirmed, &lastLost)
		return unconfirmed, lastLost, err
	})
	return events, last, err
}

const lostEventsSQL = `
SELECT id, ` + notDeadSQL + ` FROM (` + lostSQL + `) AS unconfirmed ORDER BY id`

// lostEvents returns the events that redrivePiece would put back, and the last ID that it
// read.
func (o *Redriver) lostEvents(ctx context.Context, after domain.ID, rows int, r redrive) (ids []domain.ID, last domain.ID, err error) {
	last, err = o.readPiece(ctx, after, rows, r, func(tx pgx.Tx, limit int, lost []any) (unconfirmed int, lastLost *domain.ID, err error) {
		found, err := tx.Query(ctx, fmt.Sprintf(lostEventsSQL, limit), lost...)
		if err != nil {
			return 0, nil, err
		}
		var id domain.ID
		var living bool
		_, err = pgx.ForEachRow(found, []any{(*[16]byte)(&id), &living}, func() error {
			if unconfirmed++; living {
				ids = append(ids, id)
			}
			return nil
		})
		return unconfirmed, &id, err
	})
	return ids, last, err
}

// readPiece calls the function read with a limit and with the parameters of lostSQL for
// the piece whose IDs follow the given one. The function returns how many rows of lostSQL
// it read, and the last ID of these rows. readPiece returns the last ID of the piece, or
// the function's last ID if the limit cut the piece short.
func (o *Redriver) readPiece(
	ctx context.Context, after domain.ID, rows int, r redrive, read func(tx pgx.Tx, limit int, lost []any) (n int, last *domain.ID, err error),
) (last domain.ID, err error) {
	limit := max(1, rows/redriveShare)
	err = pgx.BeginFunc(ctx, o.db.Pool(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stillPartitionsSQL); err != nil {
			return err
		}
		if after, last, err = stored.PieceBesideInbox(ctx, tx, after, rows, r.from, r.window); err != nil {
			return err
		}
		spared, err := r.spared(ctx, tx, after, last)
		if err != nil {
			return err
		}
		unconfirmed, lastLost, err := read(tx, limit, []any{
			[16]byte(after), r.from, r.window.Seconds(), r.until, r.except, r.eventType, [16]byte(last), spared, r.losesAcknowledgements(),
		})
		if err == nil && unconfirmed >= limit {
			last = *lastLost
		}
		return err
	})
	return last, err
}

// The housekeeping moves rows from the default partition to a new partition. A statement
// that PostgreSQL planned before the move and executes after it would find the rows in
// neither partition. This lock prevents such a move.
const stillPartitionsSQL = `LOCK TABLE ONLY outbox_sent IN SHARE UPDATE EXCLUSIVE MODE`

// openBatches are the transactions that have written to the history and have not ended.
// oldest is the time at which the first of them began. latest is the last sent_at that
// Redrive reads: now, or a later time if an open transaction or a row of the history has
// one.
type openBatches struct {
	transactions   []string
	oldest, latest time.Time
}

// A claim locks the history before it publishes anything, and releases the lock only when
// other sessions can see its rows. Most roles may not see when another user's transaction
// began. In that case oldest is unknown, and Redrive reads the whole history again.
const openBatchesSQL = `
SELECT greatest(clock_timestamp(), max(a.xact_start)), coalesce(array_agg(DISTINCT l.virtualtransaction), '{}'),
       CASE WHEN bool_and(a.xact_start IS NOT NULL) THEN min(a.xact_start) END
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.relation = 'outbox_sent'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// If the clock was set back, the history may have rows with a sent_at in the future.
// latestSentSQL runs after openBatchesSQL has read the locks: a transaction that has
// released its lock by then has its rows in the history. Almost always there are no such
// rows, and only a few partitions can have any.
const latestSentSQL = `SELECT max(sent_at) FROM outbox_sent WHERE id > $1::uuid AND id <= $2::uuid AND sent_at > $3::timestamptz`

// latestSent returns the newest sent_at of the history, or the given time if that is later.
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
	// No batch lasts as long as batchPatience: PostgreSQL ends a batch that is idle or waits
	// for too long. So a transaction that locks the history for longer than batchPatience is
	// no batch.
	batchPatience = 5 * time.Minute
)

const stillOpenSQL = `
SELECT EXISTS (SELECT FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'outbox_sent'::regclass AND mode = 'RowExclusiveLock' AND virtualtransaction = ANY ($1::text[]))`

// awaitBatches waits until all of the given transactions have ended. If that
// takes longer than batchPatience, awaitBatches logs a warning and returns nil.
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
