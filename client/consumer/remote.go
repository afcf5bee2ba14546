package consumer

import (
	"context"
	"database/sql"
	_ "embed" // for the inbox
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/client"
	"outboxd/client/acknowledge"
	"outboxd/client/outage"
)

// ErrUnacknowledged is the error of a task of a remote Consumer: the event took effect, but Redis did not accept the
// acknowledgement. Asynq runs the task again. The second run has no effect, but sends the acknowledgement. After the
// last attempt, on a server that Run did not start, the task is removed from its queue instead, and the leader sends the
// event again (see --relay-missing).
var ErrUnacknowledged = errors.New("the effect is committed, but Redis did not accept its acknowledgement")

// NewRemote returns a Consumer whose handlers write to another database than that of the outbox. A table in that
// database records which events took effect; CreateInbox makes it. After the commit the Consumer sends an
// acknowledgement to the outbox through Redis. If the acknowledgement is lost, the event is sent again, without a
// second effect.
//
// Call Close when the worker has ended. Errors: an unknown kind of RedisConnOpt.
func NewRemote[Tx any](db Database[Tx], connect asynq.RedisConnOpt, options Options) (*Consumer[Tx], error) {
	client, ok := connect.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		return nil, fmt.Errorf("no Redis client can be made of a %T", connect)
	}
	table := "outboxd_inbox"
	if options.Schema != "" {
		table = quote(options.Schema) + "." + table
	}
	return &Consumer[Tx]{db: db, options: options, inbox: &remote{redis: punctual(client), table: table}}, nil
}

// Close closes the Consumer's connections to Redis.
func (c *Consumer[Tx]) Close() error {
	if r, ok := c.inbox.(*remote); ok {
		return r.redis.Close()
	}
	return nil
}

// inboxSQL is in a file of its own, so that other migration tools can run it, too.
//
//go:embed inbox.sql
var inboxSQL string

// CreateInbox makes the inbox table of a Consumer of NewRemote, unless the table
// exists. If the database role may not make tables, run the file inbox.sql of this
// package as another role.
func (c *Consumer[Tx]) CreateInbox(ctx context.Context) error {
	r, ok := c.inbox.(*remote)
	if !ok {
		return errors.New("only a Consumer by NewRemote has an inbox of its own")
	}
	tx, rollback, err := c.begin(ctx)
	if err != nil {
		return fmt.Errorf("make the inbox: %w", err)
	}
	defer rollback()
	// First look whether the table exists. CREATE INDEX would wait for all running
	// handlers even if the index exists, and two callers at the same time would
	// conflict.
	var made bool
	if err := tx.QueryRow(ctx, "SELECT pg_advisory_xact_lock(7306087319) IS NULL OR to_regclass($1) IS NOT NULL", r.named("outboxd_inbox")).Scan(&made); err != nil {
		return fmt.Errorf("look for the inbox: %w", err)
	}
	if made {
		return nil
	}
	for statement := range strings.SplitSeq(r.named(inboxSQL), ";") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		// The statement returns no row.
		if err := tx.QueryRow(ctx, statement).Scan(); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("make the inbox: %w", err)
		}
	}
	return tx.Commit(ctx)
}

// TrimInbox deletes up to 10,000 rows that are older than age, and returns how many
// it deleted. age must be longer than outboxd's --relay-history, which is a week by
// default. As long as outboxd may send an event again, the inbox needs the event's
// row. TrimInbox refuses an age below a second, such as the zero of an option that
// was not set, because it would delete all rows.
func (c *Consumer[Tx]) TrimInbox(ctx context.Context, age time.Duration) (n int64, err error) {
	r, ok := c.inbox.(*remote)
	if !ok {
		return 0, errors.New("only a Consumer by NewRemote has an inbox of its own")
	}
	if age < time.Second {
		return 0, fmt.Errorf("trim the inbox: the age is %v; it has to be longer than outboxd's --relay-history", age)
	}
	tx, rollback, err := c.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("trim the inbox: %w", err)
	}
	defer rollback()
	if err := tx.QueryRow(ctx, r.named(trimSQL), fmt.Sprintf("%d seconds", int64(age.Seconds()))).Scan(&n); err != nil {
		return 0, fmt.Errorf("trim the inbox: %w", err)
	}
	return n, tx.Commit(ctx)
}

const trimSQL = `
WITH gone AS (
    DELETE FROM outboxd_inbox WHERE event_id = ANY (ARRAY(
        SELECT event_id FROM outboxd_inbox WHERE processed_at < now() - $1::text::interval ORDER BY processed_at LIMIT 10000))
    RETURNING 1
) SELECT count(*) FROM gone`

// remote is the inbox of a Consumer of NewRemote, in the consumer's own database.
type remote struct {
	redis redis.UniversalClient
	table string
}

func (r *remote) named(statement string) string {
	// Keep the index's name without a schema: CREATE INDEX does not accept one.
	return strings.NewReplacer("outboxd_inbox_", "outboxd_inbox_", "outboxd_inbox", r.table).Replace(statement)
}

// recordSQL writes the inbox row before the effect, so that a second task of the
// same event waits for the first. The statement also lets the transaction be idle until the
// task's deadline.
const recordSQL = `
WITH first AS (INSERT INTO outboxd_inbox (event_id) VALUES ($2::text::uuid) ON CONFLICT DO NOTHING RETURNING 1)
SELECT set_config('idle_in_transaction_session_timeout', $1::text, true),
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END,
    EXISTS (SELECT FROM first)`

func (r *remote) confirm(ctx context.Context, row func(context.Context, string, ...any) Row, event Event) (first bool, err error) {
	var idle, whole sql.NullString
	err = row(ctx, r.named(recordSQL), patience(ctx), event.ID.String()).Scan(&idle, &whole, &first)
	if outage.State(err) == "42P01" {
		return false, fmt.Errorf("there is no table %s in this database: call CreateInbox, or run inbox.sql: %w", r.table, err)
	}
	return first, err
}

func (r *remote) check(ctx context.Context, row func(context.Context, string, ...any) Row) error {
	_, err := r.confirm(ctx, row, Event{ID: client.NewID()})
	if err != nil {
		return fmt.Errorf("the inbox of the consumer's database cannot be used: %w", err)
	}
	if err := r.redis.Ping(ctx).Err(); err != nil {
		if hopeless := refused(err); hopeless != nil {
			return hopeless
		}
		return fmt.Errorf("the Redis that acknowledgements go through does not answer: correct the RedisConnOpt, or wait until it runs: %w", err)
	}
	if err := acknowledge.Check(ctx, r.redis); err != nil {
		if hopeless := refused(err); hopeless != nil {
			return hopeless
		}
		return fmt.Errorf("the Redis that acknowledgements go through accepts none in the stream %s: %w", acknowledge.Key, err)
	}
	return nil
}

// acknowledgePatience is how long sending an acknowledgement may take. The task
// waits for it.
const acknowledgePatience = 10 * time.Second

// acknowledging returns the context for sending an acknowledgement. A cancellation of ctx does not count, because the
// effect is committed. But the deadline of ctx does, which is a little before that of the task (see spare.Before). If
// the task's own time were over, Asynq would charge an attempt, and on the last one the event would become a dead
// letter although it took effect.
func acknowledging(ctx context.Context) (context.Context, context.CancelFunc) {
	until := time.Now().Add(acknowledgePatience)
	if deadline, bounded := ctx.Deadline(); bounded && deadline.Before(until) {
		until = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), until)
}

// committed sends the acknowledgement before the task ends. If the worker dies between the commit and the
// acknowledgement, the task runs again and sends the acknowledgement.
func (r *remote) committed(ctx context.Context, event Event) error {
	ctx, cancel := acknowledging(ctx)
	defer cancel()
	return unacknowledged(acknowledge.Send(ctx, r.redis, acknowledgementOf(event)))
}

func acknowledgementOf(event Event) acknowledge.Acknowledgement {
	return acknowledge.Acknowledgement{Event: event.ID, Type: event.Type, Queue: event.Queue, Outbox: event.outbox}
}

// unacknowledged returns the error of a task whose acknowledgement failed with err. The caller
// gives it to unlessLast, with the context of the task.
func unacknowledged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnacknowledged, err)
}
