package relay_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// fixture is a relay between a real PostgreSQL and a real Redis.
type fixture struct {
	t        testing.TB
	db       *postgres.Database
	redis    *redis.Client
	registry *prometheus.Registry
	relay    *relay.Relay
	options  relay.Options
}

// openRedis returns a handle that is closed when the test ends.
func openRedis(t testing.TB, url string) *broker.Redis {
	t.Helper()
	handle, err := broker.Open(broker.Options{URL: url}, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = handle.Close() })
	return handle
}

// newFixture makes a relay whose naps soon grow to an hour, unless the function change
// sets another interval. So it then finds events only because it was notified, or
// because an event's time has come.
func newFixture(t testing.TB, databaseURL, redisURL string, change func(*relay.Options)) *fixture {
	t.Helper()
	db := schematest.Connect(t, databaseURL)
	migrate(t, db)
	handle := openRedis(t, redisURL)
	publisher := publish.New(handle)
	client := handle.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	f := &fixture{t: t, db: db, redis: client, registry: prometheus.NewRegistry()}
	f.options = relay.Options{
		Duties: lead.Duties{
			Housekeeping: upkeep.NewHousekeeping(db, ""), Unfinished: publisher.Tasks(), History: time.Hour, InboxRetention: time.Hour,
		},
		Store:       repository.NewOutbox(db, repository.OutboxOptions{History: true}),
		Publisher:   publisher,
		Presence:    repository.NewPresence(db, ""),
		Database:    db.Ping,
		Process:     domain.RelayProcess{ID: domain.ID{1}, Host: "test", PID: 1, Version: "test"},
		Concurrency: 2, BatchSize: 100, MaxAttempts: 3,
		BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond, PollInterval: time.Hour,
		PollMin: 10 * time.Millisecond, PollWithoutListen: time.Hour, Listen: true,
		Logger: servertest.Logger(t), Registry: f.registry,
	}
	if change != nil {
		change(&f.options)
	}
	f.relay = relay.New(f.options)
	return f
}

// start runs the relay until the returned function is called, or the test ends.
// An actor's error fails the test.
func (f *fixture) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	wait := f.run(ctx)
	stop = sync.OnceFunc(func() { cancel(); wait() })
	f.t.Cleanup(stop)
	return stop
}

// run runs the relay until ctx ends. wait waits until the relay has ended.
func (f *fixture) run(ctx context.Context) (wait func()) {
	var actors sync.WaitGroup
	for _, actor := range f.relay.Actors() {
		actors.Go(func() {
			if err := actor.Run(ctx); err != nil {
				f.t.Errorf("%s: %v", actor.Name, err)
			}
		})
	}
	return actors.Wait
}

func (f *fixture) exec(statement string, args ...any) {
	f.t.Helper()
	if _, err := f.db.SQL().ExecContext(f.t.Context(), statement, args...); err != nil {
		f.t.Fatalf("%s: %v", statement, err)
	}
}

func (f *fixture) count(query string, args ...any) (n int) {
	f.t.Helper()
	if err := f.db.SQL().QueryRowContext(f.t.Context(), query, args...).Scan(&n); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// eventually waits for a count. Two minutes are far longer than any step here takes,
// also on a busy machine; only a failing test waits for so long.
func (f *fixture) eventually(want int, query string, args ...any) {
	f.t.Helper()
	var got int
	if !servertest.Within(servertest.Patience, func() bool { got = f.count(query, args...); return got == want }) {
		f.t.Fatalf("%s: %d after %v, want %d", query, got, servertest.Patience, want)
	}
}

// tasks returns the IDs of the tasks that Redis holds in a queue.
func (f *fixture) tasks(queue string) map[string]bool {
	f.t.Helper()
	prefix := "asynq:{" + queue + "}:t:"
	ids := map[string]bool{}
	keys := f.redis.Scan(f.t.Context(), 0, prefix+"*", 10_000).Iterator()
	for keys.Next(f.t.Context()) {
		ids[keys.Val()[len(prefix):]] = true
	}
	if err := keys.Err(); err != nil {
		f.t.Fatal(err)
	}
	return ids
}

func (f *fixture) counter(name, label, value string) float64 {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == name && l.GetName() == label && l.GetValue() == value {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	f.t.Fatalf("no metric %s{%s=%q}", name, label, value)
	return 0
}

const emitMany = `INSERT INTO outbox (event_type, payload) SELECT 'test:'||n, '' FROM generate_series(1, $1::int) n`
