package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"

	"outboxd/client"
	"outboxd/client/consumer"
)

// billing returns a pool of a database role as an operator may make it: a member of
// outboxd_consumer, with a search path of its own and with bounds for transactions.
func (b *bench) billing() *sql.DB {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.DatabaseURL)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, file := range []string{"roles.sql", "grants.sql"} {
		script, err := os.ReadFile(filepath.Join("..", "..", "deploy", "postgres", file))
		if err == nil {
			_, err = conn.PgConn().Exec(b.t.Context(), string(script)).ReadAll()
		}
		if err != nil {
			b.t.Fatalf("%s: %v", file, err)
		}
	}
	b.exec("CREATE ROLE billing LOGIN IN ROLE outboxd_consumer", "CREATE SCHEMA billing AUTHORIZATION billing",
		"ALTER ROLE billing SET search_path = billing", "ALTER ROLE billing SET idle_in_transaction_session_timeout = '200ms'",
		"ALTER ROLE billing SET lock_timeout = '10s'")
	if b.count("SELECT current_setting('server_version_num')::int") >= 170000 {
		b.exec("ALTER ROLE billing SET transaction_timeout = '300ms'")
	}
	address, err := url.Parse(b.DatabaseURL)
	if err != nil {
		b.t.Fatal(err)
	}
	address.User = url.User("billing")
	own, err := sql.Open("pgx", address.String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = own.Close() })
	exec(b.t, own, "CREATE TABLE billing.invoices (event_id uuid NOT NULL)")
	return own
}

// The handler talks to the outside world for longer than a transaction of its role may be idle. The role's
// search_path does not have the outbox's schema.
func TestAConsumersRoleBoundsNoHandler(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	own := b.billing()
	calls := make(chan struct{}, 10)
	b.serve(consumer.Handle(consumer.New(consumer.SQL(own), consumer.Options{}), func(ctx context.Context, tx *sql.Tx, _ payment) error {
		calls <- struct{}{}
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for idle := false; !idle; <-again.C {
			err := b.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity
				WHERE usename = 'billing' AND state = 'idle in transaction' AND clock_timestamp() - state_change > interval '1 second')`).Scan(&idle)
			if err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO invoices VALUES ($1)", consumer.EventOf(ctx).ID.String())
		return err
	}))
	id := b.emit(client.Event{Type: "test:effect"})
	b.enqueue(id, asynq.Timeout(20*time.Second))
	if task := b.await(id, asynq.TaskStateCompleted); task.Retried != 0 || len(calls) != 1 {
		t.Errorf("the handler ran %d times, and its task was tried %d times more: %s", len(calls), task.Retried, task.LastErr)
	}
	if b.count("SELECT count(*) FROM billing.invoices") != 1 || b.count("SELECT count(*) FROM outboxd.inbox") != 1 {
		t.Error("there is not one invoice and one confirmation")
	}
}

func TestTheSchemaIsFoundOrNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	own := b.billing()
	var c *consumer.Consumer[*sql.Tx]
	answers := make(chan error, 10)
	b.serve(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		err := consumer.Handle(c, func(context.Context, *sql.Tx, []byte) error { return nil }).ProcessTask(ctx, task)
		answers <- err
		return err
	}))
	// try runs the task of a new event with a new consumer, and checks its error.
	try := func(what string, options consumer.Options, want string) {
		t.Helper()
		c = consumer.New(consumer.SQL(own), options)
		id := b.emit(client.Event{Type: "test:effect"})
		b.enqueue(id, asynq.MaxRetry(0))
		err := <-answers
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case want == "":
			b.await(id, asynq.TaskStateCompleted)
		case !errors.Is(err, consumer.ErrNotTried) || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v", what, err)
		}
	}
	try("without a name", consumer.Options{}, "")
	try("by its name", consumer.Options{Schema: "outboxd"}, "")
	b.exec("REVOKE EXECUTE ON FUNCTION outboxd.confirm FROM outboxd_consumer, PUBLIC")
	try("without a right", consumer.Options{}, `GRANT EXECUTE ON FUNCTION "outboxd".confirm`)
	// Another application's outbox causes no doubt until this role may use it too.
	b.exec("GRANT EXECUTE ON FUNCTION outboxd.confirm TO outboxd_consumer", "CREATE SCHEMA other",
		"CREATE FUNCTION other.confirm(event_id uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false'", // a function of another application
		"CREATE SCHEMA another", "CREATE FUNCTION another.confirm(event_id uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
		"CREATE FUNCTION another.outbox_is_confirmed(event uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false'")
	try("beside an outbox of somebody else", consumer.Options{}, "")
	b.exec("GRANT USAGE ON SCHEMA other TO billing")
	try("beside a function that has the name only", consumer.Options{}, "")
	b.exec("GRANT USAGE ON SCHEMA another TO billing")
	try("with two outboxes", consumer.Options{}, "Options.Schema")
}
