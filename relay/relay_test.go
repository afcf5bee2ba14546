package relay_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/relay"
	"outboxd/repository/postgres"
)

func migrate(t testing.TB, db *postgres.Database) {
	t.Helper()
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}

func TestEventsReachRedisWithEveryOption(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), nil)
	f.exec(`INSERT INTO outbox (event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds)
		VALUES ('raw:bytes', '\x00ff', '{"traceparent":"00-x"}', 'low', 7, 8, '2100-01-01Z', 9)`)
	f.exec(`INSERT INTO outbox (event_type, payload, generation) VALUES ('replayed', '', 2)`)
	f.exec(`INSERT INTO outbox (event_type, payload, unique_seconds) VALUES ('unique', 'same', 60), ('unique', 'same', 60)`)
	f.start()
	f.eventually(3, "SELECT count(*) FROM outbox_sent")
	f.eventually(1, "SELECT count(*) FROM outbox_suppressed")
	f.eventually(0, "SELECT count(*) FROM outbox")

	inspector := asynq.NewInspectorFromRedisClient(f.redis)
	low, err := inspector.ListPendingTasks("low")
	if err != nil || len(low) != 1 {
		t.Fatalf("queue low: %v, %v", low, err)
	}
	task := low[0]
	if task.Type != "raw:bytes" || string(task.Payload) != "\x00\xff" || task.MaxRetry != 7 || task.Timeout != 8*time.Second ||
		task.Deadline.Year() != 2100 || task.Retention != 9*time.Second || task.Headers["traceparent"] != "00-x" {
		t.Errorf("task %+v", task)
	}
	if n := f.count("SELECT count(*) FROM outbox_sent WHERE id = $1::uuid", task.ID); n != 1 {
		t.Errorf("no event has the task's ID %s", task.ID)
	}
	var replayed, unique int
	for id := range f.tasks("default") {
		if strings.HasSuffix(id, ".2") {
			replayed++
		} else {
			unique++
		}
	}
	if replayed != 1 || unique != 1 {
		t.Errorf("%d tasks of generation 2 and %d unique ones, want 1 and 1", replayed, unique)
	}
}

// A task that Redis already has, from an attempt whose commit was lost, is
// success: the event is settled, and there is still one task.
func TestARepeatMeetsItself(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), nil)
	f.exec(emitMany, 1)
	batch, err := f.options.Store.Claim(t.Context(), domain.Cursor{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.options.Publisher.Publish(t.Context(), batch.Events())[0].Failure(); err != nil {
		t.Fatal(err)
	}
	if err := batch.Release(); err != nil { // as a crash before the commit would
		t.Fatal(err)
	}
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
	if n := len(f.tasks("default")); n != 1 {
		t.Errorf("%d tasks, want 1", n)
	}
}

// The relay's naps grow to an hour here: only a notification, an event's due
// time or Wake can end one.
func TestAwakenings(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), nil)
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
	f.exec("SELECT outboxd.emit('test:notify', '{}')")
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
	f.exec("SELECT outboxd.emit('test:delayed', '{}', available_at => now() + interval '700 ms')")
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:delayed' AND sent_at >= available_at")
	f.exec("ALTER TABLE outbox DISABLE TRIGGER outbox_written")
	f.exec("SELECT outboxd.emit('test:direct', '{}')")
	f.relay.Wake()
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:direct'")
}

// A producer's INSERT ran before the relay was marked asleep, and its COMMIT
// came after the relay's last look. It sends no notification. The first naps of
// an idle relay are short enough to find its event.
func TestALateCommitIsFoundWithoutANotification(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), nil)
	f.exec("ALTER TABLE outbox DISABLE TRIGGER outbox_written")
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
	f.exec("SELECT outboxd.emit('test:late', '{}')")
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
}

func TestStoppingLeavesAndIsRepeatable(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), nil)
	for n := 1; n <= 3; n++ {
		stop := f.start()
		f.exec("SELECT outboxd.emit('test:a', '{}')")
		f.eventually(n, "SELECT count(*) FROM outbox_sent")
		stop()
		if left := f.count("SELECT count(*) FROM outbox_relays"); left != 0 {
			t.Errorf("%d relays are on record after a stop", left)
		}
	}
}

// Redis refuses the events of one queue. They become dead letters, and do not hold up the events of
// another queue.
func TestRefusedEventsHoldNobodyUpAndDie(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), nil)
	// A string where Asynq wants a list: Redis answers WRONGTYPE for this queue.
	if err := f.redis.Set(t.Context(), "asynq:{broken}:pending", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	f.exec(`INSERT INTO outbox (event_type, payload, queue) SELECT 'test:a', '', CASE n % 2 WHEN 0 THEN 'broken' ELSE 'default' END FROM generate_series(1, 40) n`)
	f.start()
	f.eventually(20, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
	f.eventually(20, "SELECT count(*) FROM outbox_dead WHERE attempts = 3 AND stage = 'relay' AND error LIKE '%WRONGTYPE%' AND last_error LIKE '%WRONGTYPE%'")
	if n := len(f.tasks("default")); n != 20 {
		t.Errorf("%d tasks, want 20", n)
	}
	for outcome, want := range map[string]float64{"enqueued": 20, "failed": 40, "dead": 20} {
		if got := f.counter("outboxd_relay_events_total", "outcome", outcome); got != want {
			t.Errorf("%v events %s, want %v", got, outcome, want)
		}
	}
}

func TestRedisIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFixture(t, schematest.Database(t), server.URL(), nil)
	f.start()
	f.exec(emitMany, 10)
	f.eventually(10, "SELECT count(*) FROM outbox_sent")
	server.Kill()
	f.exec(emitMany, 10)
	f.eventuallyOpen()
	if n := f.count("SELECT count(*) FROM outbox WHERE attempts = 0 AND last_error IS NULL"); n != 10 {
		t.Errorf("%d events wait uncharged, want 10", n)
	}
	server.Start()
	f.eventually(20, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
	// A poller that was past the breaker may have relayed before it closed.
	servertest.Eventually(t, "the breaker is closed", func() bool { return f.relay.QueueReachable() == nil })
}

// A Redis that accepts connections and never answers is an outage too. It may
// have carried out the requests.
func TestRedisStalls(t *testing.T) {
	t.Parallel()
	proxy := faulttest.NewProxy(t, servertest.Redis(t))
	f := newFixture(t, schematest.Database(t), proxy.URL(), nil)
	f.start()
	f.exec(emitMany, 10)
	f.eventually(10, "SELECT count(*) FROM outbox_sent")
	proxy.Stall()
	f.exec(emitMany, 200)
	f.eventuallyOpen()
	proxy.Resume()
	f.eventually(210, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
	proxy.Reset()
	f.exec(emitMany, 10)
	f.eventually(220, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
}

func (f *fixture) eventuallyOpen() {
	f.t.Helper()
	servertest.Eventually(f.t, "the breaker is open", func() bool { return f.relay.QueueReachable() != nil })
	if got := f.counter("outboxd_relay_breaker_open", "server", "queue"); got != 1 {
		f.t.Errorf("the breaker's gauge is %v, want 1", got)
	}
}

func TestPostgresRestarts(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	f := newFixture(t, server.URL(), servertest.Redis(t), nil)
	f.start()
	f.exec(emitMany, 10)
	f.eventually(10, "SELECT count(*) FROM outbox_sent")
	server.Stop()
	server.Start()
	f.exec(emitMany, 10)
	f.eventually(20, "SELECT count(*) FROM outbox_sent")
	f.eventually(1, "SELECT count(*) FROM outbox_relays")
}

// Eight pollers of two relays, while backends are terminated at random: every
// event is in Redis once, and none is left.
func TestNothingIsLostOrDoubledWhileBackendsDie(t *testing.T) {
	t.Parallel()
	const events = 20_000
	server := postgrestest.Start(t)
	url, redisURL := server.URL(), servertest.Redis(t)
	var published, repeated atomic.Int64
	many := func(id byte) func(*relay.Options) {
		return func(o *relay.Options) {
			o.Concurrency, o.Process.ID = 4, domain.ID{id}
			o.Publisher = &countingPublisher{o.Publisher, &published, &repeated}
			o.PollInterval = 100 * time.Millisecond // a lost notification delays an event only briefly
		}
	}
	first := newFixture(t, url, redisURL, many(1))
	second := newFixture(t, url, redisURL, many(2))
	first.exec(emitMany, events)

	stop := make(chan struct{})
	var killer sync.WaitGroup
	admin := schematest.Connect(t, url)
	var kills atomic.Int64
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			result, err := admin.SQL().ExecContext(context.Background(), `SELECT pg_terminate_backend(pid) FROM (
				SELECT pid FROM pg_stat_activity WHERE application_name = 'outboxd' AND xact_start IS NOT NULL AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) AS one`)
			if err == nil {
				n, _ := result.RowsAffected()
				kills.Add(n)
			}
		}
	})
	first.start()
	second.start()
	waiting := schematest.Connect(t, url+"&application_name=watcher")
	deadline := time.Now().Add(2 * time.Minute)
	for left := 1; left > 0; {
		if err := waiting.SQL().QueryRowContext(t.Context(), "SELECT count(*) FROM outbox").Scan(&left); err != nil {
			t.Fatal(err)
		}
		if kills.Load() > 200 {
			break // enough; let them finish in peace
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events are left after %d kills", left, kills.Load())
		}
	}
	close(stop)
	killer.Wait()
	first.eventually(0, "SELECT count(*) FROM outbox")
	t.Logf("%d backends terminated, %d events published, %d of them again", kills.Load(), published.Load(), published.Load()-events)
	if kills.Load() == 0 {
		t.Error("no backend was terminated")
	}
	tasks := first.tasks("default")
	if len(tasks) != events {
		t.Errorf("%d tasks in Redis, want %d", len(tasks), events)
	}
	if n := first.count("SELECT count(DISTINCT id) FROM outbox_sent"); n != events {
		t.Errorf("%d events in the history, want %d", n, events)
	}
	if n := first.count("SELECT count(*) FROM outbox_sent"); n != events {
		t.Errorf("%d rows in the history, want %d: an event was settled twice", n, events)
	}
}

// countingPublisher counts the events whose tasks Redis has, and the others.
type countingPublisher struct {
	domain.Publisher
	published, refused *atomic.Int64
}

func (p *countingPublisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts := p.Publisher.Publish(ctx, events)
	for _, r := range receipts {
		if r.Received() {
			p.published.Add(1)
		} else {
			p.refused.Add(1)
		}
	}
	return receipts
}
