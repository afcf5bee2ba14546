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
	// History says whether published events are kept, in outbox_sent.
	History bool
	// BatchBytes limits the memory that the payloads of one batch need. A batch ends with
	// the event whose payload makes the sum reach BatchBytes. 0 means 8 MiB.
	BatchBytes int
	// Unconfirmed has the event types that no consumer confirms. If such an event has an
	// ordering key, the next event of the key may go as soon as the queue has accepted this
	// one.
	Unconfirmed []string
	// DeadHoldsKey says that a dead letter keeps the turn of its ordering key: later events
	// of the key wait until a person replays, discards or erases it.
	DeadHoldsKey bool
}

const defaultBatchBytes = 8 << 20

// Outbox implements domain.EventStore. An Outbox claims due events: it deletes them from
// the table outbox, and moves them to the history if one is kept. Then it settles the
// events that could not be published.
//
// A claim is a transaction that stays open while the relay publishes its events. So nothing
// needs recovery: if a process dies, PostgreSQL rolls its transaction back, and the events
// are due again.
type Outbox struct {
	db         *postgres.Database
	o          OutboxOptions
	claim      string
	splitClaim string      // used if there are subscriptions
	subscribed atomic.Bool // whether the last claim found subscriptions
	passed     *passedOver
}

// NewOutbox returns the outbox of db.
func NewOutbox(db *postgres.Database, o OutboxOptions) *Outbox {
	if o.BatchBytes <= 0 {
		o.BatchBytes = defaultBatchBytes
	}
	store := &Outbox{db: db, o: o, claim: claimSQL, passed: newPassedOver()}
	if o.History {
		store.claim = claimWithHistorySQL
	}
	store.splitClaim = splitting(store.claim, o.History)
	return store
}

var _ domain.EventStore = (*Outbox)(nil)

// A claim sets these timeouts for its own transaction in PostgreSQL. A process may stop
// working without dying: the machine suspends it, or the network separates it from the
// server. PostgreSQL then ends the transaction after these times, and another relay can
// claim the events.
const (
	idlePatience      = time.Minute      // between two statements
	statementPatience = 30 * time.Second // of one statement
	lockPatience      = 5 * time.Second  // for a lock; locked rows of the outbox are skipped
)

// outboxd sends boundsSQL together with the claim. boundsSQL sets the timeouts of the
// transaction. It also sets outboxd.moving, so that the trigger outbox_written does not
// count events that the transaction puts back into the outbox as new events. boundsSQL reads
// whether there are subscriptions, and the mark of the outbox (markSQL).
const boundsSQL = `
SELECT set_config('idle_in_transaction_session_timeout', $1, true), set_config('statement_timeout', $2, true),
       set_config('lock_timeout', $3, true), set_config('outboxd.moving', 'on', true),
       EXISTS (SELECT FROM outbox_subscriptions WHERE removed_at IS NULL), ` + markSQL

// batchLife is how long after its beginning a claim may send a ROLLBACK, or the COMMIT
// of a batch without events to publish. Without this bound, the ROLLBACK would wait
// forever for a server that stopped answering.
const batchLife = time.Minute

// claimSQL is one statement. The claim statement deletes the claimed rows from the outbox. A
// deletion costs PostgreSQL about as much as a row lock, and after it nothing is left to do for
// published events. Events that could not be published are settled afterwards.
//
//   - due reads the index outbox_due in its order, from the cursor on, so PostgreSQL need
//     not sort. LIMIT is applied after the row locks, so PostgreSQL locks no more rows
//     than it returns; inside an IN (…) subquery it could lock more. The limit is a
//     number in the text (%d): if it were a parameter, the planner would assume that it
//     is a tenth of the table.
//   - The cursor is one comparison of two columns, so it bounds the index scan:
//     PostgreSQL does not read the dead index entries before it again.
//   - The condition on excepted queues stands in a CASE, for which the planner assumes
//     that half the rows match. For a plain comparison with a parameter it assumes that
//     almost no row matches, and sorts the table.
//   - fitting ends the batch, in the order of due, with the row whose payload makes the
//     sum reach $3 bytes. The rows behind that row stay locked until the batch ends. Then
//     the next claim can take them.
//   - With = ANY(ARRAY(…)) PostgreSQL deletes the rows directly by their tuple
//     identifiers (ctid).
//   - holding has the events that have a key but not the key's turn. going has the other
//     events. Both look up the key in outbox_turns, and look up nothing for events without
//     a key. The lookup is a subquery in a comparison, because PostgreSQL cannot turn such
//     a subquery into a hash table of all turns. With a history PostgreSQL evaluates going
//     twice, which costs less than storing the rows of going.
//   - held inserts the rows of holding into outbox_held. If an event is already held, its
//     second row is only counted (absorbed).
//   - If the claim held events, one additional row of the result, without an event,
//     reports them.
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

// If there is a history, the claim statement also moves the rows of going to the history,
// so the relay need not send the rows back. The column sent_at is now(), the start of the
// transaction. By sent_at the transaction finds its rows again.
var claimWithHistorySQL = claimSQL[:len(claimSQL)-len(claimedSQL)] + `, kept AS (
    INSERT INTO outbox_sent (` + stored.Columns + `) SELECT ` + stored.Columns + ` FROM going
)` + claimedSQL

// scope says which due events a claim takes: up to limit events from a place on, except those of
// some queues and those that are passed over.
type scope struct {
	from   domain.Cursor
	limit  int
	except []string
	passed [][16]byte
}

// Claim implements domain.EventStore.
func (o *Outbox) Claim(ctx context.Context, from domain.Cursor, limit int, except ...string) (domain.Batch, error) {
	passed, tried := o.passed.begin(from)
	b, err := o.claimAgain(ctx, scope{from, limit, append([]string{}, except...), passed})
	switch {
	case err != nil:
		o.passed.end(tried, false)
		return nil, postgres.TranslateWork(err, "claim events")
	case b.conn == nil: // the batch has no events to publish, and begun has ended it
		o.passed.end(tried, true)
	default:
		b.tried = tried
	}
	return b, nil
}

func (o *Outbox) claimAgain(ctx context.Context, s scope) (*batch, error) {
	for attempt := 1; ; attempt++ {
		batch, err := o.claimOnce(ctx, s)
		if isOfOne(err) && !postgres.IsFleeting(err) {
			batch, err = o.claimAround(ctx, s, err)
		}
		if err == nil || attempt >= postgres.StaleConnections || !postgres.IsConnectionLost(err) && !postgres.IsFleeting(err) || ctx.Err() != nil {
			return batch, err
		}
	}
}

func (o *Outbox) claimOnce(ctx context.Context, s scope) (*batch, error) {
	b, err := o.newBatch(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.load(ctx, s); err != nil {
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
	// The end of ctx does not end life: a claim must be rolled back or committed even after
	// ctx has ended.
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchLife)
	return &batch{outbox: o, conn: conn, life: life, cancel: cancel}, nil
}

// begun returns the batch. If the batch has no events to publish, begun also ends the
// batch's transaction.
func (o *Outbox) begun(b *batch) (*batch, error) {
	switch {
	case len(b.events) > 0:
		return b, nil
	case b.held.Count > 0 || b.held.Instead > 0 || b.held.Made > 0 || b.aside > 0:
		// The commit does not use ctx: if ctx ended during COMMIT, nobody would know whether it
		// succeeded.
		if err := b.end(b.life); err != nil {
			_ = b.Release()
			return nil, err
		}
		return b, nil
	default:
		return b, b.Release()
	}
}

// nextDueSQL reads one entry of the index outbox_due. PostgreSQL subtracts the times,
// because the clock of this machine may differ. If $1 (overdue) is false, the statement
// looks back only half a second. So it also finds events that became due between the
// claim and this query, and events of transactions that took up to half a second. An
// event that is due in more than a day is ignored: no relay sleeps so long, and a
// time.Duration cannot hold thousands of years.
const nextDueSQL = `
SELECT (extract(epoch FROM greatest(available_at, now() - interval '1 day') - clock_timestamp()) * 1000000)::bigint
FROM outbox
WHERE available_at >= CASE WHEN $1 THEN '-infinity' ELSE now() - interval '500 milliseconds' END AND available_at < now() + interval '1 day'
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

// batch implements domain.Batch: an open transaction that has deleted its events from the
// outbox. It uses pgx directly. With batches of a thousand rows, GORM would cost a
// quarter of the relay's time.
type batch struct {
	outbox *Outbox
	conn   *pgxpool.Conn // nil: it is back in the pool
	life   context.Context
	cancel context.CancelFunc
	events []domain.Event
	held   held
	full   bool
	// advanced: the commit made deliveries, or may have released events that waited for a turn.
	advanced bool
	now      time.Time
	aside    int      // how many rows were set aside
	freed    []string // the ordering keys of the rows that were set aside
	// subscribed: there are subscriptions.
	subscribed bool
	mark       string          // of the outbox
	tried      []domain.Cursor // stuck events that this claim tries again
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

// Release implements domain.Batch. If the connection is lost, Release returns no error:
// PostgreSQL ends the transaction then, after idlePatience at the latest.
func (b *batch) Release() error {
	if b.conn == nil {
		return nil
	}
	_, err := b.conn.Exec(b.life, "ROLLBACK")
	b.outbox.passed.end(b.tried, false)
	b.giveBack()
	if err == nil || postgres.IsConnectionLost(err) {
		return nil
	}
	return postgres.TranslateWork(err, "release claimed events")
}

// giveBack returns the connection to the pool. The pool closes a connection that is still
// in a transaction.
func (b *batch) giveBack() {
	b.conn.Release()
	b.conn = nil
	b.cancel()
}

// load begins the transaction and claims the events, in one round trip. If the statement that
// makes no deliveries was sent although there are subscriptions, load begins again with the
// statement that makes deliveries.
func (b *batch) load(ctx context.Context, s scope) error {
	b.subscribed = b.outbox.subscribed.Load()
	for {
		expected := b.subscribed
		rows, results, err := b.tryLoad(ctx, s)
		if err != nil {
			return err
		}
		if b.subscribed == expected || expected {
			b.outbox.subscribed.Store(b.subscribed)
			defer results.Close()
			return b.read(rows, s.limit)
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

func (b *batch) tryLoad(ctx context.Context, s scope) (pgx.Rows, pgx.BatchResults, error) {
	claim, args := b.claimSQL(), []any{dueFrom(s.from), [16]byte(s.from.ID), b.outbox.o.BatchBytes, s.except}
	if len(s.passed) > 0 {
		claim, args = passing(claim), append(args, s.passed)
	}
	var steps pgx.Batch
	b.queueBegin(&steps)
	begin := steps.Len()
	steps.Queue(fmt.Sprintf(claim, s.limit), args...)
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
	steps.Queue(boundsSQL, postgres.Milliseconds(idlePatience), postgres.Milliseconds(statementPatience), postgres.Milliseconds(lockPatience), markOn(b.conn.Conn()).source)
}

// readBegin reads the server's answers to the statements that queueBegin queued.
func (b *batch) readBegin(results pgx.BatchResults, steps int) error {
	for range steps - 1 {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	var setting string
	var read sourcedMark
	if err := results.QueryRow().Scan(&setting, &setting, &setting, &setting, &b.subscribed, &read.source, &read.mark); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	b.mark = rememberMark(b.conn.Conn(), read)
	return nil
}

// read reads the result of a claim statement that takes up to limit events.
func (b *batch) read(rows pgx.Rows, limit int) error {
	defer rows.Close()
	locked := 0
	scan := stored.NewScan(&b.now, &locked, &b.held)
	withoutEvent := scan.WithoutEvent()
	b.events = make([]domain.Event, 0, min(limit, 1024))
	for rows.Next() {
		if raw := rows.RawValues(); raw[0] == nil && raw[len(raw)-1] != nil {
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
	// DELETE returns its rows in any order, so they are sorted here by due time.
	slices.SortFunc(b.events, func(x, y domain.Event) int { return x.Cursor().Compare(y.Cursor()) })
	b.full = locked == limit || len(b.events)+b.Held() < locked
	return nil
}

// dueFrom returns the due time from which a claim reads the index. For the zero Cursor it
// is -infinity. So a claim also finds rows with a time that the outbox's constraints
// forbid.
func dueFrom(from domain.Cursor) pgtype.Timestamptz {
	if from == (domain.Cursor{}) {
		return pgtype.Timestamptz{Valid: true, InfinityModifier: pgtype.NegativeInfinity}
	}
	return pgtype.Timestamptz{Valid: true, Time: from.Due}
}
