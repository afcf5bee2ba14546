package confirm_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"outboxd/app/schematest"
	"outboxd/jobs/confirm"
)

// statements runs SQL, one after another.
func statements(t *testing.T, db *sql.DB, list ...string) {
	t.Helper()
	for _, statement := range list {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// consumer is a database role as an operator may make it: a member of outboxd_consumer, with a search path of its own and
// with bounds for transactions.
func consumer(t *testing.T) (admin, own *sql.DB) {
	t.Helper()
	as := schematest.RoleDatabase(t)
	admin = schematest.Connect(t, as("")).SQL()
	statements(t, admin, "CREATE ROLE billing LOGIN IN ROLE outboxd_consumer", "CREATE SCHEMA billing AUTHORIZATION billing",
		"ALTER ROLE billing SET search_path = billing", "ALTER ROLE billing SET idle_in_transaction_session_timeout = '200ms'",
		"ALTER ROLE billing SET lock_timeout = '10s'")
	var version int
	if err := admin.QueryRowContext(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version >= 170000 {
		statements(t, admin, "ALTER ROLE billing SET transaction_timeout = '300ms'")
	}
	config, err := pgx.ParseConfig(as("billing"))
	if err != nil {
		t.Fatal(err)
	}
	own = stdlib.OpenDB(*config) // as another service does it, with the role's settings
	t.Cleanup(func() { _ = own.Close() })
	statements(t, own, "CREATE TABLE billing.invoices (event_id uuid NOT NULL)")
	return admin, own
}

func emit(t *testing.T, admin *sql.DB) (id string) {
	t.Helper()
	if err := admin.QueryRowContext(t.Context(), "SELECT outboxd.emit('test:invoice', '{}')").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// awaitIdle waits until the transaction of a role has been idle for five times as long as its role allows.
func awaitIdle(ctx context.Context, admin *sql.DB) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var idle bool
		err := admin.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE usename = 'billing' AND state = 'idle in transaction' AND clock_timestamp() - state_change > interval '1 second')`).Scan(&idle)
		if err != nil || idle {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// A handler that talks to the outside world for longer than its role's transactions may be idle, in a role
// that does not see the outbox's schema without its name.
func TestAConsumersRoleBoundsNoHandler(t *testing.T) {
	t.Parallel()
	admin, own := consumer(t)
	id := emit(t, admin)
	calls := make(chan struct{}, 10)
	client, inspector := serve(t, own, func(ctx context.Context, _ *asynq.Task) error {
		calls <- struct{}{}
		waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := awaitIdle(waiting, admin); err != nil {
			return err
		}
		_, err := confirm.Tx(ctx).ExecContext(ctx, "INSERT INTO invoices VALUES ($1)", id)
		return err
	})
	enqueue(t, client, "test:invoice", id)
	task := awaitState(t, inspector, id, asynq.TaskStateCompleted)
	if task.Retried != 0 || len(calls) != 1 {
		t.Errorf("the handler ran %d times, and its task was tried %d times more: %s", len(calls), task.Retried, task.LastErr)
	}
	var invoices, confirmed int
	err := admin.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM billing.invoices), (SELECT count(*) FROM outboxd.inbox)").Scan(&invoices, &confirmed)
	if err != nil || invoices != 1 || confirmed != 1 {
		t.Errorf("%d invoices and %d confirmations, %v", invoices, confirmed, err)
	}
}

// onceIn confirms a new event as a handler with a transaction of its own does.
func onceIn(t *testing.T, admin, own *sql.DB, options ...confirm.Option) (first bool, err error) {
	t.Helper()
	id := emit(t, admin)
	done := make(chan struct{})
	client, _ := serveWith(t, func(ctx context.Context, _ *asynq.Task) error {
		defer close(done)
		var tx *sql.Tx
		if tx, err = own.BeginTx(ctx, nil); err == nil {
			defer func() { _ = tx.Rollback() }()
			first, err = confirm.Once(ctx, tx, options...)
		}
		return nil
	})
	enqueue(t, client, "test:invoice", id)
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the handler did not run")
	}
	return first, err
}

func TestTheSchemaIsFoundOrNamed(t *testing.T) {
	t.Parallel()
	admin, own := consumer(t)
	if first, err := onceIn(t, admin, own); err != nil || !first {
		t.Errorf("without a name: %v, %v", first, err)
	}
	if first, err := onceIn(t, admin, own, confirm.Schema("outboxd")); err != nil || !first {
		t.Errorf("by its name: %v, %v", first, err)
	}

	statements(t, admin, "REVOKE EXECUTE ON FUNCTION outboxd.confirm FROM outboxd_consumer, PUBLIC")
	if _, err := onceIn(t, admin, own); err == nil || !strings.Contains(err.Error(), `GRANT EXECUTE ON FUNCTION "outboxd".confirm`) {
		t.Errorf("without a right: %v", err)
	}
	// Somebody else's outbox is no reason to be in doubt, until this role may use it too.
	statements(t, admin, "GRANT EXECUTE ON FUNCTION outboxd.confirm TO outboxd_consumer", "CREATE SCHEMA other",
		"CREATE FUNCTION other.confirm(event_id uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false'", // somebody else's
		"CREATE SCHEMA another", "CREATE FUNCTION another.confirm(event_id uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
		"CREATE FUNCTION another.outbox_is_confirmed(event uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false'")
	if first, err := onceIn(t, admin, own); err != nil || !first {
		t.Errorf("beside an outbox of somebody else: %v, %v", first, err)
	}
	statements(t, admin, "GRANT USAGE ON SCHEMA other TO billing")
	if first, err := onceIn(t, admin, own); err != nil || !first {
		t.Errorf("beside a function that has the name only: %v, %v", first, err)
	}
	statements(t, admin, "GRANT USAGE ON SCHEMA another TO billing")
	if _, err := onceIn(t, admin, own); err == nil || !strings.Contains(err.Error(), "confirm.Schema") {
		t.Errorf("with two outboxes: %v", err)
	}
}
