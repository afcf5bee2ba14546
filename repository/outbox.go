package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// OutboxOptions tune an Outbox.
type OutboxOptions struct {
	// History keeps delivered events in outbox_sent.
	History bool
	// BatchBytes bounds the payloads of one batch, in bytes, so that a few
	// large events take no more memory than many small ones. A batch always has
	// at least one event. 0 means 8 MiB.
	BatchBytes int
	// Unconfirmed are the event types that no consumer confirms. If such an
	// event has an ordering key, the next event of the key follows as soon as
	// the queue has this one.
	Unconfirmed []string
	// DeadHoldsKey lets a dead letter keep its key's turn: later events of the
	// key wait until it is replayed or discarded.
	DeadHoldsKey bool
}

const defaultBatchBytes = 8 << 20

// Outbox implements domain.EventStore. It claims due events, which moves them to
// the history, and settles those that were not delivered.
//
// A claim is a transaction that stays open while its events are handed to the
// queue. There is no lease that could expire and nothing to recover: when a
// process dies, PostgreSQL ends its transaction, and the rows are due again.
type Outbox struct {
	db         *postgres.Database
	o          OutboxOptions
	claim      string
	splitClaim string      // used if there are subscriptions
	subscribed atomic.Bool // whether the last claim found subscriptions
}

// NewOutbox returns the outbox of db.
func NewOutbox(db *postgres.Database, o OutboxOptions) *Outbox {
	if o.BatchBytes <= 0 {
		o.BatchBytes = defaultBatchBytes
	}
	store := &Outbox{db: db, o: o, claim: claimSQL}
	if o.History {
		store.claim = claimWithHistorySQL
	}
	store.splitClaim = splitting(store.claim, o.History)
	return store
}

var _ domain.EventStore = (*Outbox)(nil)

// Timeouts that a claim sets for its own transaction in PostgreSQL. A process
// may stop without dying: it is suspended, or the network cuts it off.
// PostgreSQL then ends the transaction, and others can claim the rows.
const (
	idlePatience      = time.Minute      // between two statements
	statementPatience = 30 * time.Second // of one statement
	lockPatience      = 5 * time.Second  // for a lock on a table; locked rows are skipped
)

// boundsSQL is sent together with the claim. It sets the timeouts, marks events
// that return to the outbox as not emitted again, and asks for the mark of the outbox
// and whether there are subscriptions.
const boundsSQL = `
SELECT set_config('idle_in_transaction_session_timeout', $1, true), set_config('statement_timeout', $2, true),
       set_config('lock_timeout', $3, true), set_config('outboxd.moving', 'on', true),
       EXISTS (SELECT FROM outbox_subscriptions WHERE removed_at IS NULL), coalesce(outbox_mark(), '')`

// batchLife bounds a claim on our side too: if the server has vanished
// silently, even a rollback would wait for it.
const batchLife = time.Minute

// One statement deletes the rows from the outbox. That costs PostgreSQL about as
// much as locking them, and leaves nothing to do for delivered events. The others
// are put back.
//
//   - due reads the index outbox_due from the cursor on, in its order, without
//     sorting. LIMIT stands above the row locks, so no more rows are locked than
//     taken; inside an IN (…) subquery more can be. The limit is written out (%d):
//     for a parameter the planner would assume a tenth of the table.
//   - The cursor is one row comparison, so it bounds the index scan: dead entries
//     before it are not read again.
//   - The excepted queues stand in a CASE, for which the planner assumes half the
//     rows. For a plain comparison with a parameter it assumes almost none, and
//     then sorts the table.
//   - fitting cuts the batch, in the order of due, when its payloads exceed $3
//     bytes. Rows beyond that stay locked until the batch ends, and are then due
//     again.
//   - = ANY(ARRAY(…)) makes the deletion a scan of tuple identifiers.
//   - held has the events with a key that do not have the turn; going has the
//     others. Both look up outbox_turns by its key, and not at all for events
//     without a key: a subquery in a comparison cannot become a hash of the table.
//     going is evaluated twice, which costs less than keeping its rows.
//   - A repeat of an event that is held already is absorbed.
//   - If something was held, one more row without an event reports it.
var claimSQL = `
WITH due AS MATERIALIZED (
    SELECT ctid, octet_length(payload) AS bytes
    FROM outbox
    WHERE available_at <= now() AND (available_at, id) >= ($1, $2::uuid)
      AND CASE WHEN queue = ANY ($4::text[]) THEN false ELSE true END
    ORDER BY available_at, id
    LIMIT %d
    FOR UPDATE SKIP LOCKED
), fitting AS (
    SELECT ctid FROM (
        SELECT ctid, sum(bytes) OVER (ROWS UNBOUNDED PRECEDING) - bytes AS before FROM due
    ) AS running
    WHERE before < $3
), gone AS (
    DELETE FROM outbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM fitting))
    RETURNING ` + stored.Columns + `
), holding AS MATERIALIZED (
    SELECT ` + stored.Columns + ` FROM gone
    WHERE ordering_key IS NOT NULL
      AND (SELECT event_id FROM outbox_turns t WHERE t.ordering_key = gone.ordering_key) IS DISTINCT FROM id
), held AS (
    INSERT INTO outbox_held (` + stored.Columns + `)
    SELECT ` + stored.Columns + ` FROM holding
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), absorbed AS (
    INSERT INTO outbox_entries (event_type, created_at, repeated)
    SELECT event_type, created_at, 1 FROM holding WHERE NOT EXISTS (SELECT FROM held WHERE held.id = holding.id)
), going AS NOT MATERIALIZED (
    SELECT ` + stored.Columns + ` FROM gone
    WHERE ordering_key IS NULL
       OR (SELECT event_id FROM outbox_turns t WHERE t.ordering_key = gone.ordering_key) = id
)` + claimedSQL

var claimedSQL = `
SELECT ` + stored.Columns + `, now(), (SELECT count(*) FROM due), NULL::jsonb FROM going
UNION ALL ` + heldSQL

// With a history, the same statement also moves the rows there, inside the
// server. sent_at is now(), the start of the transaction, by which the
// transaction finds its rows again.
var claimWithHistorySQL = claimSQL[:len(claimSQL)-len(claimedSQL)] + `, kept AS (
    INSERT INTO outbox_sent (` + stored.Columns + `) SELECT ` + stored.Columns + ` FROM going
)` + claimedSQL

// Claim implements domain.EventStore.
func (o *Outbox) Claim(ctx context.Context, from domain.Cursor, limit int, except ...string) (domain.Batch, error) {
	const doing = "claim events"
	for attempt := 1; ; attempt++ {
		batch, err := o.claimOnce(ctx, from, limit, except)
		if stored.IsOfRow(err) && !postgres.IsFleeting(err) {
			batch, err = o.claimAround(ctx, from, limit, except, err)
		}
		if err == nil {
			return batch, nil
		}
		if attempt >= postgres.StaleConnections || !postgres.IsConnectionLost(err) && !postgres.IsFleeting(err) || ctx.Err() != nil {
			return nil, postgres.TranslateWork(err, doing)
		}
	}
}

func (o *Outbox) claimOnce(ctx context.Context, from domain.Cursor, limit int, except []string) (*batch, error) {
	b, err := o.newBatch(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.load(ctx, from, limit, except); err != nil {
		_ = b.Release()
		return nil, err
	}
	return o.begun(b)
}

// newBatch takes a connection for a claim.
func (o *Outbox) newBatch(ctx context.Context) (*batch, error) {
	conn, err := o.db.Pool().Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("take a connection: %w", err)
	}
	// The transaction must outlive ctx: a batch that was claimed is finished.
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchLife)
	return &batch{outbox: o, conn: conn, life: life, cancel: cancel}, nil
}

// begun returns the batch, or ends the claim if there are no events to publish.
func (o *Outbox) begun(b *batch) (*batch, error) {
	switch {
	case len(b.events) > 0:
		return b, nil
	case b.held.Count > 0 || b.held.Instead > 0 || b.held.Made > 0 || b.aside > 0:
		// Not under ctx: if ctx ended in between, the commit would be
		// undecided.
		if err := b.end(b.life); err != nil {
			_ = b.Release()
			return nil, err
		}
		return b, nil
	default:
		return b, b.Release()
	}
}

// Reads one entry of outbox_due. PostgreSQL takes the difference, because our
// clock may differ. The tenth of a second covers events that became due between
// the claim and this look. Events due in more than a day are ignored: no relay
// sleeps so long, and thousands of years do not fit into a time.Duration.
const nextDueSQL = `
SELECT (extract(epoch FROM greatest(available_at, now() - interval '1 day') - clock_timestamp()) * 1000000)::bigint
FROM outbox
WHERE available_at >= CASE WHEN $1 THEN '-infinity' ELSE now() - interval '100 milliseconds' END AND available_at < now() + interval '1 day'
ORDER BY available_at
LIMIT 1`

// NextDue implements domain.EventStore.
func (o *Outbox) NextDue(ctx context.Context, overdue bool) (time.Duration, bool, error) {
	var micros int64
	err := o.db.SQL().QueryRowContext(ctx, nextDueSQL, overdue).Scan(&micros)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return time.Duration(micros) * time.Microsecond, err == nil, postgres.TranslateWork(err, "look for the next due event")
}

// batch implements domain.Batch: an open transaction that has deleted the
// events from the outbox. It uses a pgx connection without GORM, which would
// cost a quarter of the relay's time for a thousand rows a batch.
type batch struct {
	outbox *Outbox
	conn   *pgxpool.Conn // nil: it is back in the pool
	life   context.Context
	cancel context.CancelFunc
	events []domain.Event
	held   held
	full   bool
	// advanced: the commit released events.
	advanced bool
	now      time.Time
	aside    int      // how many rows were set aside
	freed    []string // the ordering keys of the rows that were set aside
	// subscribed: there are subscriptions.
	subscribed bool
	mark       string // of the outbox
}

// Events implements domain.Batch.
func (b *batch) Events() []domain.Event { return b.events }

// Full implements domain.Batch.
func (b *batch) Full() bool { return b.full }

// Advanced implements domain.Batch.
func (b *batch) Advanced() bool { return b.advanced }

// Now implements domain.Batch.
func (b *batch) Now() time.Time { return b.now }

// Held implements domain.Batch.
func (b *batch) Held() int { return b.held.Count + b.held.Instead }

// Reached implements domain.Batch.
func (b *batch) Reached() domain.Cursor {
	reached := b.held.last()
	if instead := b.held.lastInstead(); instead.Compare(reached) > 0 {
		reached = instead
	}
	if n := len(b.events); n > 0 && b.events[n-1].Cursor().Compare(reached) > 0 {
		reached = b.events[n-1].Cursor()
	}
	return reached
}

// Release implements domain.Batch. If the connection is lost, nothing is left
// to release.
func (b *batch) Release() error {
	if b.conn == nil {
		return nil
	}
	_, err := b.conn.Exec(b.life, "ROLLBACK")
	b.giveBack()
	if err == nil || postgres.IsConnectionLost(err) {
		return nil
	}
	return postgres.TranslateWork(err, "release claimed events")
}

// giveBack returns the connection to the pool, which closes it if it is still
// in a transaction.
func (b *batch) giveBack() {
	b.conn.Release()
	b.conn = nil
	b.cancel()
}

// load begins the transaction and takes the events, in one round trip. The
// first claim that finds subscriptions begins again, to make deliveries.
func (b *batch) load(ctx context.Context, from domain.Cursor, limit int, except []string) error {
	b.subscribed = b.outbox.subscribed.Load()
	for {
		expected := b.subscribed
		rows, results, err := b.tryLoad(ctx, from, limit, except)
		if err != nil {
			return err
		}
		if b.subscribed == expected || expected {
			b.outbox.subscribed.Store(b.subscribed)
			defer results.Close()
			return b.read(rows, limit)
		}
		rows.Close()
		if err := results.Close(); err != nil {
			return fmt.Errorf("take due events: %w", err)
		}
		if _, err := b.conn.Exec(ctx, "ROLLBACK"); err != nil {
			return fmt.Errorf("begin anew, with deliveries: %w", err)
		}
	}
}

func (b *batch) tryLoad(ctx context.Context, from domain.Cursor, limit int, except []string) (pgx.Rows, pgx.BatchResults, error) {
	var steps pgx.Batch
	b.queueBegin(&steps)
	begin := steps.Len()
	steps.Queue(fmt.Sprintf(b.claimSQL(), limit), dueFrom(from), [16]byte(from.ID), b.outbox.o.BatchBytes, append([]string{}, except...))
	results := b.conn.SendBatch(ctx, &steps)
	if err := b.readBegin(results, begin); err != nil {
		_ = results.Close()
		return nil, nil, err
	}
	rows, err := results.Query()
	if err != nil {
		_ = results.Close()
		return nil, nil, fmt.Errorf("take due events: %w", err)
	}
	return rows, results, nil
}

// begin begins the transaction, in one round trip.
func (b *batch) begin(ctx context.Context) error {
	var steps pgx.Batch
	b.queueBegin(&steps)
	results := b.conn.SendBatch(ctx, &steps)
	if err := b.readBegin(results, steps.Len()); err != nil {
		_ = results.Close()
		return err
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return nil
}

func (b *batch) queueBegin(steps *pgx.Batch) {
	b.outbox.db.Pool().QueueBegin(steps)
	steps.Queue(boundsSQL, postgres.Milliseconds(idlePatience), postgres.Milliseconds(statementPatience), postgres.Milliseconds(lockPatience))
}

// read reads the rows of a claim of up to limit events.
func (b *batch) read(rows pgx.Rows, limit int) error {
	defer rows.Close()
	locked := 0
	scan := stored.NewScan(&b.now, &locked, &b.held)
	withoutEvent := scan.WithoutEvent()
	b.events = make([]domain.Event, 0, min(limit, 1024))
	for rows.Next() {
		if rows.RawValues()[0] == nil {
			if err := rows.Scan(withoutEvent...); err != nil {
				return fmt.Errorf("read what was held: %w", err)
			}
			continue
		}
		if err := rows.Scan(scan.Targets...); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		event := scan.Event()
		event.Outbox = b.mark
		b.events = append(b.events, event)
		if err := scan.Unfit(); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("take due events: %w", err)
	}
	// DELETE does not return its rows in the order of due.
	slices.SortFunc(b.events, func(x, y domain.Event) int { return x.Cursor().Compare(y.Cursor()) })
	b.full = locked == limit || len(b.events)+b.Held() < locked
	return nil
}

// dueFrom is the time at which a scan begins. The zero Cursor is before all
// times, even those that the outbox does not allow.
func dueFrom(from domain.Cursor) pgtype.Timestamptz {
	if from == (domain.Cursor{}) {
		return pgtype.Timestamptz{Valid: true, InfinityModifier: pgtype.NegativeInfinity}
	}
	return pgtype.Timestamptz{Valid: true, Time: from.Due}
}
