package outboxtest_test

import (
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"outboxd/client"
	"outboxd/client/gormoutbox"
	"outboxd/client/outboxtest"
	"outboxd/client/pgxoutbox"
)

// TestMain does not count the goroutine of GORM's cache for prepared statements as
// leaked, because GORM never ends it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

const greeted client.Type[string] = "test:greeted"

// witness is a testing.TB that records the message with which a helper ends the test.
type witness struct {
	testing.TB
	mu   sync.Mutex
	said string
}

func (w *witness) Helper() {}

func (w *witness) Fatalf(format string, args ...any) {
	w.mu.Lock()
	w.said = strings.TrimSpace(fmt.Sprintf(format, args...))
	w.mu.Unlock()
	runtime.Goexit()
}

// fails runs a helper and returns the message with which it ended the test; "" if it did
// not.
func fails(t *testing.T, helper func(*witness)) string {
	t.Helper()
	w := &witness{TB: t}
	var running sync.WaitGroup
	running.Go(func() { helper(w) })
	running.Wait()
	return w.said
}

func emit(t *testing.T, db *sql.DB, event client.Event) client.ID {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	id, err := client.Outbox{}.Emit(t.Context(), tx, event)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestDrainNamesWhatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t)
	db := o.DB(t)
	o.Drain(t) // there are no events yet
	id := emit(t, db, greeted.Event("hello"))
	o.Patience = 300 * time.Millisecond
	if said := fails(t, func(w *witness) { o.Drain(w) }); !strings.Contains(said, id.String()) || !strings.Contains(said, "test:greeted") || !strings.Contains(said, "not everything is confirmed") {
		t.Errorf("Drain says %q", said)
	}
	if _, err := db.ExecContext(t.Context(), "SELECT outboxd.confirm($1::text::uuid)", id.String()); err != nil {
		t.Fatal(err)
	}
	o.Patience = 30 * time.Second
	o.Drain(t)
	if _, err := db.ExecContext(t.Context(), `INSERT INTO outboxd.outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		VALUES (gen_random_uuid(), 'test:dead', '', '{}', 'q', now(), 0, 0, now(), 'worker', 'no stock')`); err != nil {
		t.Fatal(err)
	}
	if said := fails(t, func(w *witness) { o.Drain(w) }); !strings.Contains(said, "dead letter") || !strings.Contains(said, "no stock") {
		t.Errorf("Drain says %q", said)
	}
}

// Transactions of pgx and of GORM emit, and see their own events and no others. The
// other subtests say which committed events count, and how a missing one is reported.
func TestEveryKindOfTransaction(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t, "--roles=monitor")
	db := o.DB(t)
	emit(t, db, greeted.Event("before"))
	t.Run("pgx", func(t *testing.T) {
		t.Parallel()
		pool, err := pgxpool.New(t.Context(), o.DatabaseURL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(t.Context()) }()
		outboxtest.RequireNotEmitted(t, tx, greeted)
		if _, err := (client.Outbox{}).Emit(t.Context(), pgxoutbox.Tx(tx), greeted.Event("pgx")); err != nil {
			t.Fatal(err)
		}
		outboxtest.RequireEmitted(t, tx, greeted)
		outboxtest.RequireEmitted(t, pool, greeted, func(e outboxtest.Emitted[string]) bool { return e.Payload == "before" })
	})
	t.Run("GORM", func(t *testing.T) {
		t.Parallel()
		pool, err := gorm.Open(postgres.New(postgres.Config{Conn: db}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (client.Outbox{}).Emit(t.Context(), gormoutbox.Tx(pool), greeted.Event("beside")); err == nil {
			t.Error("an event was emitted outside of a transaction")
		}
		for _, prepared := range []bool{false, true} {
			err = pool.Session(&gorm.Session{PrepareStmt: prepared}).Transaction(func(tx *gorm.DB) error {
				if _, err := (client.Outbox{}).Emit(t.Context(), gormoutbox.Tx(tx), greeted.Event("GORM")); err != nil {
					return err
				}
				outboxtest.RequireEmitted(t, tx.Statement.ConnPool, greeted)
				return gorm.ErrInvalidData // so that GORM rolls back
			})
			if err != gorm.ErrInvalidData { //nolint:errorlint // it is returned as it is
				t.Error(err)
			}
		}
	})
	t.Run("in any state, and once", func(t *testing.T) {
		t.Parallel()
		const stated client.Type[string] = "test:stated"
		exec := func(statement string, args ...any) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
				t.Fatal(err)
			}
		}
		emit(t, db, stated.Event("cancelled"))
		exec("SELECT outboxd.cancel(id) FROM outboxd.outbox WHERE event_type = 'test:stated'")
		// As after a replay, the history has the event in two generations.
		id := emit(t, db, stated.Event("sent again")).String()
		exec(`WITH gone AS (DELETE FROM outboxd.outbox WHERE id = $1::text::uuid RETURNING *)
			INSERT INTO outboxd.outbox_sent SELECT (jsonb_populate_record(NULL::outboxd.outbox_sent, to_jsonb(gone) || jsonb_build_object('generation', n, 'sent_at', now() + n * interval '1 second'))).*
			FROM gone, generate_series(0, 1) AS n`, id)
		for _, want := range []string{"cancelled", "sent again"} {
			outboxtest.RequireEmitted(t, db, stated, func(e outboxtest.Emitted[string]) bool { return e.Payload == want })
		}
	})
	t.Run("what is missing is named", func(t *testing.T) {
		t.Parallel()
		for want, helper := range map[string]func(*witness){
			"but of test:greeted": func(w *witness) { outboxtest.RequireEmitted(w, db, client.Type[string]("test:other")) },
			"none of the": func(w *witness) {
				outboxtest.RequireEmitted(w, db, greeted, func(e outboxtest.Emitted[string]) bool { return e.Payload == "never" })
			},
			"1 events of type": func(w *witness) { outboxtest.RequireNotEmitted(w, db, greeted) },
			"tx.Statement":     func(w *witness) { outboxtest.RequireEmitted(w, "no transaction", greeted) },
		} {
			if said := fails(t, helper); !strings.Contains(said, want) {
				t.Errorf("the helper says %q, want %q", said, want)
			}
		}
	})
}

// The test of a service starts an outboxd.
func ExampleStart() {
	test := func(t *testing.T) {
		o := outboxtest.Start(t)
		emit(t, o.DB(t), greeted.Event("hello")) // the service's own code
		outboxtest.RequireEmitted(t, o.DB(t), greeted)
		o.Drain(t) // a worker of the service runs meanwhile
	}
	_ = test
}

// The test of a service looks at what a transaction emitted, and rolls the
// transaction back.
func ExampleRequireEmitted() {
	test := func(t *testing.T) {
		tx, err := outboxtest.Start(t).DB(t).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := (client.Outbox{}).Emit(t.Context(), tx, greeted.Event("hello")); err != nil { // the service's own code
			t.Fatal(err)
		}
		event := outboxtest.RequireEmitted(t, tx, greeted, func(e outboxtest.Emitted[string]) bool { return e.Payload == "hello" })
		if event.Queue != "default" {
			t.Errorf("it goes to the queue %s", event.Queue)
		}
	}
	_ = test
}
