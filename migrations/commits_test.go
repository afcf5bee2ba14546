package migrations_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
)

// crowd is a database with a relay that sleeps, and a listener that hears what the relay
// would hear.
type crowd struct {
	*testing.T
	url    string
	schema string
	marker *pgx.Conn
	heard  chan string // payloads
}

func newCrowd(t *testing.T) *crowd {
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	c := &crowd{T: t, url: url, schema: db.Schema(), heard: make(chan string, 10_000)}
	exec(t, db.SQL(), `INSERT INTO outbox_relays (id, host, pid, version, asleep) VALUES (gen_random_uuid(), 'h', 1, 'v', true)`)
	c.marker = c.connect()
	listener := c.connect()
	run(t, listener, "LISTEN outbox_wake")
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	listening.Go(func() {
		for {
			n, err := listener.WaitForNotification(ctx)
			if err != nil {
				return
			}
			c.heard <- n.Payload
		}
	})
	t.Cleanup(func() { cancel(); listening.Wait() })
	return c
}

func (c *crowd) connect() *pgx.Conn {
	c.Helper()
	conn, err := pgx.Connect(c.Context(), c.url)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// wakes returns how many notifications the statements sent. Notifications arrive in the
// order of commits, so those of the statements arrive before the marker.
func (c *crowd) wakes(conn *pgx.Conn, statements ...string) (n int) {
	c.Helper()
	run(c.T, conn, statements...)
	run(c.T, c.marker, "NOTIFY outbox_wake, 'marker'")
	for {
		switch <-c.heard {
		case "marker":
			return n
		case c.schema:
			n++
		}
	}
}

const emitOne = "SELECT outboxd.emit('test:a', '{}')"

// If several transactions commit at the same time, only the one with the lock notifies. A
// transaction that commits alone notifies.
func TestOneOfACrowdNotifies(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	const producers, each = 16, 50
	conns := make([]*pgx.Conn, producers)
	for i := range conns {
		conns[i] = c.connect()
	}
	var emitting sync.WaitGroup
	for _, conn := range conns {
		emitting.Go(func() {
			for range each {
				if _, err := conn.Exec(c.Context(), emitOne); err != nil {
					c.Error(err)
				}
			}
		})
	}
	emitting.Wait()
	if c.wakes(conns[0]) == 0 {
		t.Error("nobody of a crowd notified")
	}
	// Another session holds the locks of the next 20 seconds, as if other
	// transactions committed all the time.
	others := c.connect()
	run(t, others, `SELECT pg_advisory_lock(hashtextextended('`+c.schema+`', 7306087320) # moment)
		FROM generate_series((extract(epoch FROM clock_timestamp()) * 100)::bigint - 1, (extract(epoch FROM clock_timestamp()) * 100)::bigint + 2000) AS moment`)
	if n := c.wakes(conns[0], emitOne); n != 0 {
		t.Errorf("%d notifications beside another commit", n)
	}
	run(t, others, "SELECT pg_advisory_unlock_all()")
	for range 20 {
		if c.wakes(conns[0], emitOne) != 1 {
			t.Fatal("one that commits alone notified nobody")
		}
	}
}

// If a transaction keeps its lock for long, others notify again after the hundredth of a
// second of that lock, whether the transaction commits or not.
func TestALockThatIsKeptDelaysNobody(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t)
			keeper, producer := c.connect(), c.connect()
			run(t, keeper, "BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", emitOne)
			for range 3 {
				// The lock of the present hundredth of a second may be the
				// keeper's, so wait for the next one.
				if c.wakes(producer, "SELECT pg_sleep(0.011)", emitOne) != 1 {
					t.Error("a producer notified nobody while another kept the lock")
				}
			}
			if n := c.wakes(keeper, end); (n == 1) != (end == "COMMIT") {
				t.Errorf("%d notifications of the keeper's own at its %s", n, end)
			}
		})
	}
}

// A transaction notifies only if its events are committed. With outboxd.wake = off, or
// session_replication_role = replica, it does not notify.
func TestWhatIsRolledBackNotifiesNobody(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	conn := c.connect()
	if c.wakes(conn, "BEGIN", "SAVEPOINT a", emitOne, "ROLLBACK TO a", "COMMIT") != 0 {
		t.Error("a rolled back event notified")
	}
	if c.wakes(conn, "BEGIN", emitOne, "SAVEPOINT a", emitOne, "ROLLBACK TO a", "COMMIT") != 1 {
		t.Error("an event beside a rolled back one notified nobody")
	}
	if c.wakes(conn, "BEGIN", emitOne, "SET LOCAL outboxd.wake = off", "COMMIT") != 0 {
		t.Error("one that said it does not want to notified")
	}
	if c.wakes(conn, "BEGIN", "SET LOCAL session_replication_role = replica", emitOne, "COMMIT") != 0 {
		t.Error("a replica notified")
	}
	run(t, conn, "SET search_path = pg_catalog", "SET default_transaction_isolation = serializable", "SET row_security = off")
	if c.wakes(conn, emitOne) != 1 {
		t.Error("a serializable producer notified nobody")
	}
}
