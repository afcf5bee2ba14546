package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/domain"
)

// OutboxOptions tune an Outbox.
type OutboxOptions struct {
	// History keeps delivered events in outbox_sent.
	History bool
	// BatchBytes bounds the payloads of one batch, in bytes, so that few large
	// events take no more memory than many small ones. One event is always
	// taken. 0 means 16 MiB.
	BatchBytes int
}

const defaultBatchBytes = 16 << 20

// Outbox is the domain.EventStore: it claims due events and settles them.
//
// A claim is a transaction that stays open while its events are handed to the
// queue. There is no lease that could expire and no state to recover: when a
// process dies, PostgreSQL ends its transaction, and the rows are due again.
type Outbox struct {
	db    *Database
	o     OutboxOptions
	claim string
}

// NewOutbox returns the outbox in db.
func NewOutbox(db *Database, o OutboxOptions) *Outbox {
	if o.BatchBytes <= 0 {
		o.BatchBytes = defaultBatchBytes
	}
	store := &Outbox{db: db, o: o, claim: claimSQL}
	if o.History {
		store.claim = claimWithHistorySQL
	}
	return store
}

var _ domain.EventStore = (*Outbox)(nil)

// Bounds that a claim sets for its own transaction, in PostgreSQL and not only
// here, for processes that stop without dying: suspended, or cut off by the
// network. PostgreSQL then ends the transaction and gives the rows to others.
const (
	idlePatience      = time.Minute      // between two statements
	statementPatience = 30 * time.Second // of one statement
)

// batchLife bounds a claim on our side too, against a server that is gone
// without a word: even a rollback would wait for it.
const batchLife = time.Minute

// The columns of an event, in the order that eventScan reads them.
const eventColumns = `id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
    retention_seconds, unique_seconds, available_at, attempts, generation, last_error, created_at`

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
//   - fitting cuts the batch, in the order of due, where its payloads exceed $3
//     bytes. What is locked beyond stays locked until the batch ends, and is due
//     again then.
//   - = ANY(ARRAY(…)) makes the deletion a scan of tuple identifiers.
//   - bounds sets the timeouts, which would otherwise be a round trip.
const claimSQL = `
WITH bounds AS MATERIALIZED (
    SELECT set_config('idle_in_transaction_session_timeout', $4, true), set_config('statement_timeout', $5, true)
), due AS MATERIALIZED (
    SELECT ctid, octet_length(payload) AS bytes
    FROM outbox
    WHERE available_at <= now() AND (available_at, id) > ($1, $2::uuid)
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
    RETURNING ` + eventColumns + `
)` + claimedSQL

const claimedSQL = `
SELECT ` + eventColumns + `, now(), (SELECT count(*) FROM due) FROM bounds, gone`

// With a history the same statement moves the rows on, inside the server.
// sent_at is now(), the transaction's own time, by which it finds them again.
var claimWithHistorySQL = claimSQL[:len(claimSQL)-len(claimedSQL)] + `, kept AS (
    INSERT INTO outbox_sent (` + eventColumns + `) SELECT ` + eventColumns + ` FROM gone
)` + claimedSQL

// Claim implements domain.EventStore.
func (o *Outbox) Claim(ctx context.Context, from domain.Cursor, limit int) (domain.Batch, error) {
	const doing = "claim events"
	for attempt := 1; ; attempt++ {
		batch, err := o.claimOnce(ctx, from, limit)
		if err == nil {
			return batch, nil
		}
		if attempt >= staleConnections || !isConnectionLost(err) && !isFleeting(err) || ctx.Err() != nil {
			return nil, translate(err, doing)
		}
	}
}

func (o *Outbox) claimOnce(ctx context.Context, from domain.Cursor, limit int) (domain.Batch, error) {
	conn, err := o.db.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("take a connection: %w", err)
	}
	// The transaction must outlive ctx: a batch that was claimed is finished.
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchLife)
	batch := &batch{conn: conn, life: life, cancel: cancel, history: o.o.History}
	if err := batch.load(ctx, o, from, limit); err != nil {
		_ = batch.Release()
		return nil, err
	}
	if len(batch.events) == 0 {
		return batch, batch.Release()
	}
	return batch, nil
}

// One entry of outbox_due. The difference is taken here, because our clock may
// be another. The tenth of a second is for what got due between the claim and
// this look.
const nextDueSQL = `
SELECT (extract(epoch FROM available_at - clock_timestamp()) * 1000000)::bigint
FROM outbox
WHERE available_at > now() - interval '100 milliseconds'
ORDER BY available_at
LIMIT 1`

// NextDue implements domain.EventStore.
func (o *Outbox) NextDue(ctx context.Context) (time.Duration, bool, error) {
	var micros int64
	err := o.db.sql.QueryRowContext(ctx, nextDueSQL).Scan(&micros)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return time.Duration(micros) * time.Microsecond, err == nil, translate(err, "look for the next due event")
}

// batch is the domain.Batch: an open transaction in which the events are gone.
// It works on a connection of the pool below GORM: a thousand rows a batch are
// where the layers between would cost a quarter of the relay's time.
type batch struct {
	conn    *pgxpool.Conn // nil: given back
	life    context.Context
	cancel  context.CancelFunc
	events  []domain.Event
	full    bool
	now     time.Time
	history bool
}

// Events implements domain.Batch.
func (b *batch) Events() []domain.Event { return b.events }

// Full implements domain.Batch.
func (b *batch) Full() bool { return b.full }

// Now implements domain.Batch.
func (b *batch) Now() time.Time { return b.now }

// Release implements domain.Batch. A transaction whose connection is gone holds
// nothing that could be released.
func (b *batch) Release() error {
	if b.conn == nil {
		return nil
	}
	_, err := b.conn.Exec(b.life, "ROLLBACK")
	b.giveBack()
	if err == nil || isConnectionLost(err) {
		return nil
	}
	return translate(err, "release claimed events")
}

// giveBack returns the connection. The pool closes one that is still in a
// transaction.
func (b *batch) giveBack() {
	b.conn.Release()
	b.conn = nil
	b.cancel()
}

// load begins the transaction and takes the events, in one round trip.
func (b *batch) load(ctx context.Context, o *Outbox, from domain.Cursor, limit int) error {
	var steps pgx.Batch
	steps.Queue("BEGIN")
	steps.Queue(fmt.Sprintf(o.claim, limit), from.Due, [16]byte(from.ID), o.o.BatchBytes,
		milliseconds(idlePatience), milliseconds(statementPatience))
	results := b.conn.SendBatch(ctx, &steps)
	defer results.Close()
	if _, err := results.Exec(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("take due events: %w", err)
	}
	defer rows.Close()
	locked := 0
	scan := newEventScan(&b.now, &locked)
	b.events = make([]domain.Event, 0, min(limit, 1024))
	for rows.Next() {
		if err := rows.Scan(scan.columns...); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		event, err := scan.event()
		if err != nil {
			return err
		}
		b.events = append(b.events, event)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("take due events: %w", err)
	}
	// A deletion returns its rows in the order in which it met them.
	slices.SortFunc(b.events, func(x, y domain.Event) int { return x.Cursor().Compare(y.Cursor()) })
	b.full = locked == limit || len(b.events) < locked
	return nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
