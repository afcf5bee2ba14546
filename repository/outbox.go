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
	// BatchBytes bounds the payloads of one batch, in bytes, so that few large
	// events take no more memory than many small ones. One event is always
	// taken. 0 means 8 MiB.
	BatchBytes int
	// Unconfirmed are the event types for which no consumer writes a
	// confirmation. Where they have an ordering key, the next event of the key
	// follows as soon as the queue has them.
	Unconfirmed []string
	// DeadHoldsKey makes a dead letter keep its ordering key: the events
	// behind it wait until it is replayed or discarded.
	DeadHoldsKey bool
}

const defaultBatchBytes = 8 << 20

// Outbox is the domain.EventStore: it claims due events, which moves them on, and
// settles those that were not delivered.
//
// A claim is a transaction that stays open while its events are handed to the
// queue. There is no lease that could expire and no state to recover: when a
// process dies, PostgreSQL ends its transaction, and the rows are due again.
type Outbox struct {
	db         *postgres.Database
	o          OutboxOptions
	claim      string
	splitClaim string      // where there are subscriptions
	subscribed atomic.Bool // whether there were any at the last claim
}

// NewOutbox returns the outbox in db.
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

// Bounds that a claim sets for its own transaction, in PostgreSQL and not only
// here, for processes that stop without dying: suspended, or cut off by the
// network. PostgreSQL then ends the transaction and gives the rows to others.
const (
	idlePatience      = time.Minute      // between two statements
	statementPatience = 30 * time.Second // of one statement
	lockPatience      = 5 * time.Second  // for a lock on a table; rows that are locked are passed over
)

// boundsSQL is sent together with the claim. It also says that what the
// transaction puts back into the outbox is not emitted anew, and looks whether
// there are subscriptions.
const boundsSQL = `
SELECT set_config('idle_in_transaction_session_timeout', $1, true), set_config('statement_timeout', $2, true),
       set_config('lock_timeout', $3, true), set_config('outboxd.moving', 'on', true),
       EXISTS (SELECT FROM outbox_subscriptions WHERE removed_at IS NULL)`

// batchLife bounds a claim on our side too, against a server that is gone
// without a word: even a rollback would wait for it.
const batchLife = time.Minute

// One statement takes the rows out of the outbox, because it costs PostgreSQL
// about as much as locking them, and there is then nothing left to do for what
// is delivered. The rest is put back.
//
//   - due reads the index outbox_due from the cursor on, in its order, without
//     sorting. LIMIT stands above the row locks, so no more rows are locked than
//     taken; inside an IN (…) subquery more can be. It is written out (%d): of a
//     parameter the planner would assume a tenth of the table.
//   - the cursor is one row comparison, so that it is a boundary of the index
//     scan: dead entries before it are not read again.
//   - the excepted queues stand in a CASE, of which the planner assumes half the
//     rows. Of the plain comparison with a parameter it assumes next to none, and
//     then sorts the table.
//   - fitting cuts the batch, in the order of due, where its payloads exceed $3
//     bytes. What is locked beyond stays locked until the batch ends, and is due
//     again then.
//   - = ANY(ARRAY(…)) makes the deletion a scan of tuple identifiers.
//   - held takes out of the way what has an ordering key and not its turn; going
//     is the rest. Both read outbox_turns by its key, and for events without a key
//     not at all: a subquery that is compared cannot become a hash of the table.
//     going is asked twice, and asking again costs less than keeping its rows.
//   - what is held already, and was written once more, is absorbed.
//   - where something was held, one more row without an event says what.
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

// With a history the same statement moves the rows on, inside the server.
// sent_at is now(), the transaction's own time, by which it finds them again.
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

// begun ends a claim that has no events to hand on.
func (o *Outbox) begun(b *batch) (*batch, error) {
	switch {
	case len(b.events) > 0:
		return b, nil
	case b.held.Count > 0 || b.held.Instead > 0 || b.held.Made > 0 || b.aside > 0:
		// Whoever is told to stop in between would leave the commit undecided.
		if err := b.end(b.life); err != nil {
			_ = b.Release()
			return nil, err
		}
		return b, nil
	default:
		return b, b.Release()
	}
}

// One entry of outbox_due. The difference is taken here, because our clock may
// be another. The tenth of a second is for what got due between the claim and
// this look. What gets due in more than a day is none: nobody sleeps so long, and
// a difference of thousands of years would fit no time.Duration.
const nextDueSQL = `
SELECT (extract(epoch FROM available_at - clock_timestamp()) * 1000000)::bigint
FROM outbox
WHERE available_at > now() - interval '100 milliseconds' AND available_at < now() + interval '1 day'
ORDER BY available_at
LIMIT 1`

// NextDue implements domain.EventStore.
func (o *Outbox) NextDue(ctx context.Context) (time.Duration, bool, error) {
	var micros int64
	err := o.db.SQL().QueryRowContext(ctx, nextDueSQL).Scan(&micros)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return time.Duration(micros) * time.Microsecond, err == nil, postgres.TranslateWork(err, "look for the next due event")
}

// batch is the domain.Batch: an open transaction in which the events are gone.
// It works on a connection of the pool below GORM: a thousand rows a batch are
// where the layers between would cost a quarter of the relay's time.
type batch struct {
	outbox *Outbox
	conn   *pgxpool.Conn // nil: given back
	life   context.Context
	cancel context.CancelFunc
	events []domain.Event
	held   held
	full   bool
	// advanced: the commit let events of ordering keys go.
	advanced bool
	now      time.Time
	aside    int      // rows that were set aside
	freed    []string // the ordering keys of those
	// subscribed is whether there are subscriptions.
	subscribed bool
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

// Release implements domain.Batch. A transaction whose connection is gone holds
// nothing that could be released.
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

// giveBack returns the connection. The pool closes one that is still in a
// transaction.
func (b *batch) giveBack() {
	b.conn.Release()
	b.conn = nil
	b.cancel()
}

// load begins the transaction and takes the events, in one round trip. The
// first claim since there are subscriptions is begun anew, with deliveries.
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

// read takes what a claim of up to limit events returns.
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
		b.events = append(b.events, scan.Event())
		if err := scan.Unfit(); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("take due events: %w", err)
	}
	// A deletion returns its rows in the order in which it met them.
	slices.SortFunc(b.events, func(x, y domain.Event) int { return x.Cursor().Compare(y.Cursor()) })
	b.full = locked == limit || len(b.events)+b.Held() < locked
	return nil
}

// dueFrom is where a scan begins. The beginning is before all times, those that
// the outbox would not take among them.
func dueFrom(from domain.Cursor) pgtype.Timestamptz {
	if from == (domain.Cursor{}) {
		return pgtype.Timestamptz{Valid: true, InfinityModifier: pgtype.NegativeInfinity}
	}
	return pgtype.Timestamptz{Valid: true, Time: from.Due}
}
