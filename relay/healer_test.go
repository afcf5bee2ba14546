package relay_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"outboxd/app/lookout"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/jobs/broker"
	"outboxd/jobs/publish"
	"outboxd/jobs/work"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository/confirm"
	"outboxd/repository/heal"
)

// town is a fixture whose relay checks, as the leader, whether Redis has kept its data. The workers that its method
// work starts count effects.
type town struct {
	*fixture
	redisURL string
	handler  work.Handler // nil: it only counts

	mu      sync.Mutex
	effects map[domain.ID]int
}

const healCheck = 200 * time.Millisecond

// newTown makes a town whose relay checks Redis every healCheck. Towns of one database may use different Redis servers,
// as if one had taken over from the other.
func newTown(t *testing.T, databaseURL, redisURL string, change func(*relay.Options)) *town {
	t.Helper()
	db := schematest.Connect(t, databaseURL)
	f := newFixture(t, databaseURL, redisURL, func(o *relay.Options) {
		o.Healing = &lead.Healing{
			Queue: o.Publisher.(*publish.Publisher), Memory: heal.NewQueueMemory(db), CheckInterval: healCheck,
		}
		if change != nil {
			change(o)
		}
	})
	return &town{fixture: f, redisURL: redisURL, effects: map[domain.ID]int{}}
}

// The method work runs a worker until the returned function is called, or until the end of the
// test.
func (w *town) work() (stop func()) {
	w.t.Helper()
	worker := work.New(work.Options{
		Redis: openRedis(w.t, w.redisURL), Inbox: confirm.NewInbox(w.db),
		Handlers: map[string]work.Handler{"test:effect": func(ctx context.Context, tx domain.Effects, task work.Task) error {
			w.mu.Lock()
			w.effects[task.EventID]++
			w.mu.Unlock()
			if w.handler != nil {
				return w.handler(ctx, tx, task)
			}
			return nil
		}},
		Concurrency: 4, Queues: map[string]int{"default": 1}, PollInterval: 5 * time.Millisecond, Drain: 5 * time.Second,
		Logger: servertest.Logger(w.t), Registry: prometheus.NewRegistry(),
	})
	return w.runWorker(worker)
}

func (w *town) runWorker(worker *work.Worker) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := worker.Run(ctx); err != nil {
			w.t.Errorf("worker: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	w.t.Cleanup(stop)
	return stop
}

const emitEffects = `INSERT INTO outbox (event_type, payload) SELECT 'test:effect', '' FROM generate_series(1, $1::int) n`

// watched waits until PostgreSQL has a canary, from which on a loss of Redis's data is noticed.
func (w *town) watched() {
	w.t.Helper()
	w.eventually(1, "SELECT count(*) FROM outbox_queue_identity WHERE canary <> ''")
}

// heals returns when a relay last healed, as text; "" if none did.
func (w *town) heals() string {
	var at string
	_ = w.db.SQL().QueryRowContext(w.t.Context(), "SELECT coalesce(healed_at::text, '') FROM outbox_queue_identity").Scan(&at)
	return at
}

// healed waits until the method heals returns another time than the given one, which it returned earlier.
func (w *town) healed(before string) {
	w.t.Helper()
	w.eventually(1, "SELECT count(*) FROM outbox_queue_identity WHERE healed_at IS NOT NULL AND healed_at::text <> $1", before)
}

// allDone waits until every event has taken effect, and checks that none did so
// twice.
func (w *town) allDone(events int) {
	w.t.Helper()
	w.eventually(events, "SELECT count(*) FROM inbox")
	w.eventually(0, "SELECT count(*) FROM outbox")
	w.mu.Lock()
	defer w.mu.Unlock()
	lost, doubled := events-len(w.effects), 0
	for _, n := range w.effects {
		doubled += n - 1
	}
	w.t.Logf("%d events, lost %d, doubled effects %d", events, lost, doubled)
	if lost != 0 || doubled != 0 {
		w.t.Errorf("lost %d, doubled effects %d", lost, doubled)
	}
}

// The leader notices each of these losses of Redis's data, and heals it.
func TestTheQueueForgets(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		server func(testing.TB) *redistest.Server
		// prepare comes before the events that get lost; forget loses them.
		prepare func(*testing.T, *redistest.Server) (forget func())
		reason  string // how the recorded reason begins; "": not certain, because a check may come between two steps
	}{
		"emptied": {redistest.Start, func(_ *testing.T, s *redistest.Server) func() { return s.Flush }, "Redis was emptied without a restart"},
		"killed with nothing on disk": {redistest.StartForgetful, func(_ *testing.T, s *redistest.Server) func() {
			return func() { s.Kill(); s.Start() }
		}, "Redis was restarted without its data"},
		"restored from a backup": {redistest.Start, func(_ *testing.T, s *redistest.Server) func() {
			restore := s.Backup()
			return func() { s.Kill(); restore(); s.Start() }
		}, "Redis was restarted with older data"},
		"an older state put back in place": {redistest.Start, olderState, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := test.server(t)
			w := newTown(t, schematest.Database(t), server.URL(), nil)
			w.start()
			stop := w.work()
			w.exec(emitEffects, 50)
			w.watched()
			w.eventually(50, "SELECT count(*) FROM inbox")
			stop() // the tasks of the next events wait
			forget := test.prepare(t, server)
			var canary string
			if err := w.db.SQL().QueryRowContext(t.Context(), "SELECT canary FROM outbox_queue_identity").Scan(&canary); err != nil {
				t.Fatal(err)
			}
			w.exec(emitEffects, 500)
			w.eventually(550, "SELECT count(*) FROM outbox_sent")
			// The data that are put back must be older than the last canary.
			w.eventually(0, "SELECT count(*) FROM outbox_queue_identity WHERE canary = $1", canary)
			before := w.heals()
			begun := time.Now()
			forget()
			forgotten := time.Now()
			w.healed(before)
			t.Logf("healed %v after it was over, %v after it began", time.Since(forgotten), time.Since(begun))
			w.eventually(1, "SELECT count(*) FROM outbox_chart_marks WHERE kind = 'heal' AND starts_with(detail, $1)", test.reason)
			w.work()
			w.allDone(550)
			if !w.redis.SIsMember(t.Context(), "asynq:queues", "default").Val() {
				t.Error("the queue is unknown to Asynq's tools")
			}
		})
	}
}

// olderState saves Redis's keys, and returns a function that puts them back without a restart. Then the canary is
// another one, but Redis's IDs are the same.
func olderState(t *testing.T, s *redistest.Server) func() {
	client := redisClient(t, s.URL())
	saved := map[string]string{}
	for _, key := range client.Keys(t.Context(), "*").Val() {
		saved[key] = client.Dump(t.Context(), key).Val()
	}
	return func() {
		s.Flush()
		for key, value := range saved {
			if err := client.RestoreReplace(t.Context(), key, 0, value).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Producers, relay and worker go on while the queue is emptied, again and again.
func TestTheQueueIsEmptiedUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newTown(t, schematest.Database(t), server.URL(), nil)
	w.start()
	w.work()
	w.watched()
	total := 0
	for round := range 4 {
		for range 10 {
			w.exec(emitEffects, 50)
			total += 50
			if round < 3 {
				server.Flush() // once more, before the relay has finished the last heal
			}
		}
	}
	w.allDone(total)
	if n := w.value("outboxd_relay_heals_total"); n == 0 {
		t.Error("nobody noticed")
	}
}

func (f *fixture) value(name string) float64 {
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetCounter().GetValue() + family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	f.t.Fatalf("no metric %s", name)
	return 0
}

// A replica that lacks some data takes over, or an empty Redis. The next relay notices that at its
// start.
func TestAnotherQueueTakesOver(t *testing.T) {
	t.Parallel()
	for name, replicates := range map[string]bool{"a replica": true, "an empty one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := redistest.Start(t), redistest.Start(t)
			database := schematest.Database(t)
			one := newTown(t, database, first.URL(), nil)
			stop := one.start()
			one.watched()
			one.exec(emitEffects, 100)
			one.eventually(100, "SELECT count(*) FROM outbox_sent")
			if replicates {
				replicate(t, first.URL(), second.URL())
				if err := redisClient(t, second.URL()).ReplicaOf(t.Context(), "no", "one").Err(); err != nil {
					t.Fatal(err)
				}
			}
			// The first Redis takes more tasks, which the second one never gets.
			one.exec(emitEffects, 100)
			one.eventually(200, "SELECT count(*) FROM outbox_sent")
			first.Kill()
			stop()
			before := one.heals()
			other := newTown(t, database, second.URL(), nil)
			other.start()
			other.healed(before)
			other.work()
			other.allDone(200)
		})
	}
}

func TestNothingIsHealedThatIsWell(t *testing.T) {
	t.Parallel()
	database, redis := schematest.Database(t), servertest.Redis(t)
	name, events := "", 0
	for run := range 3 {
		w := newTown(t, database, redis, nil)
		stop := w.start()
		w.watched()
		// The canary is renewed after work, and by each relay that begins.
		for range 3 {
			var canary string
			if err := w.db.SQL().QueryRowContext(t.Context(), "SELECT canary FROM outbox_queue_identity").Scan(&canary); err != nil {
				t.Fatal(err)
			}
			w.exec(emitMany, 10)
			events += 10
			w.eventually(events, "SELECT count(*) FROM outbox_sent")
			w.eventually(0, "SELECT count(*) FROM outbox_queue_identity WHERE canary = $1", canary)
		}
		stop()
		if w.heals() != "" || w.value("outboxd_relay_heals_total") != 0 {
			t.Fatalf("run %d: healed without need", run)
		}
		keys := w.redis.Keys(t.Context(), "asynq:{outboxd}:canary:*").Val()
		if len(keys) != 1 || name != "" && keys[0] != name {
			t.Fatalf("canaries %v, before %s", keys, name)
		}
		name = keys[0]
	}
}

// A relay that is stopped while PostgreSQL stores a renewed canary finishes the renewal, so that the next relay does not
// heal.
func TestAStoppedRelayLeavesTheCanaryRenewed(t *testing.T) {
	t.Parallel()
	database, redis := schematest.Database(t), servertest.Redis(t)
	first := newTown(t, database, redis, nil)
	stop := first.start()
	first.watched()
	stop()

	memory := &lingering{remembered: make(chan struct{}), stopped: make(chan struct{})}
	w := newTown(t, database, redis, func(o *relay.Options) {
		memory.QueueMemory = o.Healing.Memory
		o.Healing.Memory = memory
	})
	ctx, cancel := context.WithCancel(t.Context())
	wait := w.run(ctx)
	select {
	case <-memory.remembered:
	case <-time.After(servertest.Patience):
		t.Error("the canary was not renewed")
	}
	cancel()
	close(memory.stopped)
	wait()

	next := newTown(t, database, redis, nil)
	next.start()
	next.watched()
	var canary string
	if err := next.db.SQL().QueryRowContext(t.Context(), "SELECT canary FROM outbox_queue_identity").Scan(&canary); err != nil {
		t.Fatal(err)
	}
	next.exec(emitMany, 1)
	next.eventually(0, "SELECT count(*) FROM outbox_queue_identity WHERE canary = $1", canary)
	if next.heals() != "" {
		t.Error("healed without need")
	}
}

// PostgreSQL is slow: it stores a new canary after the relay has given up waiting for that. The relay does not take the
// difference to Redis for a loss.
func TestALateCanaryIsNoLoss(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]bool{"the first": true, "a renewed one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			memory := &late{first: first, renewed: make(chan struct{})}
			w := newTown(t, schematest.Database(t), servertest.Redis(t), func(o *relay.Options) {
				memory.QueueMemory = o.Healing.Memory
				o.Healing.Memory = memory
			})
			w.start()
			select {
			case <-memory.renewed:
			case <-time.After(servertest.Patience):
				t.Fatal("the canary was not renewed")
			}
			if w.heals() != "" {
				t.Error("healed without need")
			}
		})
	}
}

// late is a memory in which storing the first canary, or the first renewal, fails, and takes effect only when the same
// is tried again. renewed is closed when a later renewal, or a heal, has been stored.
type late struct {
	lost.QueueMemory
	first   bool
	failed  bool
	missed  func(context.Context) error // what failed; nil once it has taken effect
	renewed chan struct{}
	once    sync.Once
}

func (l *late) Remember(ctx context.Context, known, next lost.QueueIdentity, healed string) error {
	first := known.Canary == ""
	remember := func(ctx context.Context) error { return l.QueueMemory.Remember(ctx, known, next, healed) }
	if first == l.first && !l.failed {
		l.failed, l.missed = true, remember
		return domain.Errorf(domain.CodeUnavailable, "the database did not answer in time")
	}
	if missed := l.missed; missed != nil {
		l.missed = nil
		if err := missed(ctx); err != nil {
			return err
		}
	}
	err := remember(ctx)
	if err == nil && l.failed && !first {
		l.once.Do(func() { close(l.renewed) })
	}
	return err
}

// lingering is a memory whose first Remember stores the identity, but has no answer until the relay is stopped.
type lingering struct {
	lost.QueueMemory
	remembered, stopped chan struct{}
	once                sync.Once
}

func (l *lingering) Remember(ctx context.Context, known, next lost.QueueIdentity, healed string) error {
	err := l.QueueMemory.Remember(ctx, known, next, healed)
	l.once.Do(func() {
		close(l.remembered)
		<-l.stopped
		if err == nil {
			err = ctx.Err()
		}
	})
	return err
}

// An answer that is lost while the canary is renewed leaves open whether the canary was renewed. The relay looks
// again and goes on from there: nothing was lost, so nothing is healed.
func TestALostAnswerWhileRenewingIsNoLoss(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"remember", "not advanced", "advanced"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			database, redis := schematest.Database(t), servertest.Redis(t)
			forgetful := &unheard{step: step}
			w := newTown(t, database, redis, func(o *relay.Options) {
				forgetful.IdentifiedQueue, forgetful.QueueMemory = o.Healing.Queue, o.Healing.Memory
				o.Healing.Queue, o.Healing.Memory = forgetful, forgetful
			})
			w.start()
			w.watched()
			for range 3 {
				forgetful.lost.Store(false)
				before := w.canary()
				w.exec(emitMany, 1)
				w.eventually(0, "SELECT count(*) FROM outbox_queue_identity WHERE canary = $1", before)
				renewed := func() bool { return forgetful.lost.Load() && w.queueCanary() == w.canary() }
				servertest.Eventually(w.t, "Redis has the canary that PostgreSQL remembers", renewed)
			}
			if w.heals() != "" {
				t.Error("healed without need")
			}
		})
	}
}

func (w *town) canary() (canary string) {
	w.t.Helper()
	if err := w.db.SQL().QueryRowContext(w.t.Context(), "SELECT canary FROM outbox_queue_identity").Scan(&canary); err != nil {
		w.t.Fatal(err)
	}
	return canary
}

// queueCanary returns the canary that Redis has; "" if it has none.
func (w *town) queueCanary() string {
	w.t.Helper()
	var name string
	if err := w.db.SQL().QueryRowContext(w.t.Context(), "SELECT name FROM outbox_queue_identity").Scan(&name); err != nil {
		w.t.Fatal(err)
	}
	return w.redis.Get(w.t.Context(), "asynq:{outboxd}:canary:"+name).Val()
}

// unheard is a queue and a memory. If the field lost is set to false, the next call of the step fails as if the
// connection had broken.
type unheard struct {
	lost.IdentifiedQueue
	lost.QueueMemory
	step string
	lost atomic.Bool
}

func (u *unheard) loses(step string) bool {
	return step == u.step && u.lost.CompareAndSwap(false, true)
}

func (u *unheard) Remember(ctx context.Context, known, next lost.QueueIdentity, healed string) error {
	err := u.QueueMemory.Remember(ctx, known, next, healed)
	if err == nil && known.Canary != "" && u.loses("remember") {
		return domain.Errorf(domain.CodeUnavailable, "the answer was lost")
	}
	return err
}

func (u *unheard) Advance(ctx context.Context, name, known, next string) (bool, error) {
	if u.loses("not advanced") {
		return false, domain.Errorf(domain.CodeUnavailable, "the question was lost")
	}
	done, err := u.IdentifiedQueue.Advance(ctx, name, known, next)
	if u.loses("advanced") {
		return false, domain.Errorf(domain.CodeUnavailable, "the answer was lost")
	}
	return done, err
}

// Events of unconfirmed types are not sent again: each of their tasks may have run.
func TestUnconfirmedTypesAreNotSentAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newTown(t, schematest.Database(t), server.URL(), func(o *relay.Options) { o.Healing.Unconfirmed = []string{"test:foreign"} })
	w.start()
	w.watched()
	w.exec(`INSERT INTO outbox (event_type, payload) VALUES ('test:foreign', ''), ('test:own', '')`)
	w.eventually(2, "SELECT count(*) FROM outbox_sent")
	before := w.heals()
	server.Flush()
	w.healed(before)
	w.eventually(0, "SELECT count(*) FROM outbox")
	if n := len(w.tasks("default")); n != 1 || w.value("outboxd_relay_healed_events_total") != 1 {
		t.Errorf("%d tasks are there again, and %v events were put back; want the one of the type that is confirmed", n, w.value("outboxd_relay_healed_events_total"))
	}
}

// A process that dies between two steps of a heal, or of renewing the canary, leaves a state in which the next one
// heals. Until a heal has ended, the recorded reason is what happened to Redis, and not the canary that an earlier
// heal wrote.
func TestACrashWhileHealingRepeatsTheHeal(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"mark", "redrive", "remember", "advance"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			database := schematest.Database(t)
			w := newTown(t, database, server.URL(), nil)
			stop := w.start()
			w.watched()
			w.exec(emitEffects, 20)
			w.eventually(20, "SELECT count(*) FROM outbox_sent")
			before := w.heals()
			stop()
			if step != "advance" {
				server.Flush()
			}
			died := &dying{step: step, done: make(chan struct{})}
			dead := newTown(t, database, server.URL(), func(o *relay.Options) {
				died.IdentifiedQueue, died.QueueMemory = o.Healing.Queue, o.Healing.Memory
				o.Healing.Queue, o.Healing.Memory = died, died
			})
			stop = dead.start()
			select {
			case <-died.done:
			case <-time.After(servertest.Patience):
				t.Fatal("it never came to that step")
			}
			stop()
			if step == "advance" {
				server.Flush() // between remembering the new canary and writing it
			}
			next := newTown(t, database, server.URL(), nil)
			if reason := lookout.Loss(t.Context(), heal.NewQueueMemory(next.db), publish.New(openRedis(t, server.URL()))); reason != lost.QueueEmptied {
				t.Errorf("during the heal the reason is %q", reason)
			}
			next.start()
			next.healed(before)
			next.eventually(1, "SELECT count(*) FROM outbox_chart_marks WHERE kind = 'heal' AND detail = $1", lost.QueueEmptied)
			next.eventually(1, "SELECT count(*) FROM outbox_queue_identity WHERE went_back_at IS NULL")
			next.work()
			next.allDone(20)
		})
	}
}

// dying is a queue and a memory of a process that dies before one of its steps:
// nothing happens any more.
type dying struct {
	lost.IdentifiedQueue
	lost.QueueMemory
	step string
	once sync.Once
	done chan struct{}
}

func (d *dying) dies(step string) error {
	select {
	case <-d.done:
		return context.Canceled
	default:
	}
	if step != d.step {
		return nil
	}
	d.once.Do(func() { close(d.done) })
	return context.Canceled
}

func (d *dying) Mark(ctx context.Context, name, next string) error {
	if err := d.dies("mark"); err != nil {
		return err
	}
	return d.IdentifiedQueue.Mark(ctx, name, next)
}

func (d *dying) Advance(ctx context.Context, name, known, next string) (bool, error) {
	if err := d.dies("advance"); err != nil {
		return false, err
	}
	return d.IdentifiedQueue.Advance(ctx, name, known, next)
}

func (d *dying) Redrive(ctx context.Context, r lost.Redrive) (int64, error) {
	if err := d.dies("redrive"); err != nil {
		return 0, err
	}
	return d.QueueMemory.Redrive(ctx, r)
}

func (d *dying) Remember(ctx context.Context, known, next lost.QueueIdentity, healed string) error {
	if err := d.dies("remember"); err != nil {
		return err
	}
	return d.QueueMemory.Remember(ctx, known, next, healed)
}

func redisClient(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	connection, err := broker.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := connection.MakeRedisClient().(redis.UniversalClient)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// replicate makes one Redis follow another, over TCP, and returns when the replica has caught up.
func replicate(t *testing.T, main, replica string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
	_ = listener.Close()
	leader := redisClient(t, main)
	for _, setting := range [][2]string{{"bind", "127.0.0.1"}, {"port", port}, {"repl-diskless-sync-delay", "0"}} {
		if err := leader.ConfigSet(t.Context(), setting[0], setting[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := redisClient(t, replica).ReplicaOf(t.Context(), "127.0.0.1", port).Err(); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the replica has caught up", func() bool {
		n, err := leader.Do(t.Context(), "WAIT", 1, 100).Int()
		return err == nil && n == 1
	})
}
