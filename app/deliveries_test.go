package app_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/subscriptions"
)

// courier is a running outboxd with its database and its Redis. With the role worker it delivers to
// receivers.
type courier struct {
	t       *testing.T
	process *process
	db      *sql.DB
	store   *subscriptions.Store
	client  *asynq.Client
	n       int

	url, queue string // of its servers
}

func newCourier(t *testing.T, roles string) *courier {
	t.Helper()
	url, queue := schematest.Database(t), servertest.Redis(t)
	db := schematest.Connect(t, url)
	client := asynq.NewClientFromRedisClient(openRedis(t, queue))
	worker := launch(t, "--roles="+roles, "--database-url="+url, "--redis-url="+queue, "--deliver-allow=127.0.0.0/8", "--deliver-check-interval=100ms")
	return &courier{t: t, process: worker, db: db.SQL(), store: subscriptions.New(db), client: client, url: url, queue: queue}
}

func (p *courier) subscribe(s setup.Subscription) {
	p.t.Helper()
	s.Types = []string{"*"}
	_, err := p.store.Apply(p.t.Context(), &domain.Action{Actor: "test"}, []setup.Subscription{s.WithDefaults()})
	if err != nil {
		p.t.Fatal(err)
	}
}

// deliver enqueues deliveries as the relay does.
func (p *courier) deliver(subscription string, n int) {
	p.t.Helper()
	for range n {
		p.n++
		id := domain.ID{0x01, 0x90, 6: 0x70, 8: 0x80, 14: byte(p.n >> 8), 15: byte(p.n)}
		task := asynq.NewTask("user:created", []byte(`{}`))
		_, err := p.client.EnqueueContext(p.t.Context(), task, asynq.Queue(setup.SubscriptionQueuePrefix+subscription), asynq.TaskID(id.String()), asynq.MaxRetry(1000), asynq.Timeout(time.Minute))
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *courier) count(query string) (n int) {
	p.t.Helper()
	if err := p.db.QueryRowContext(p.t.Context(), query).Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// A receiver that thinks for long holds no connection and no transaction, and takes
// no place from another one.
func TestASlowReceiverCostsOthersNothing(t *testing.T) {
	t.Parallel()
	const slow, quick = 60, 200
	var thinking, took atomic.Int32
	release := make(chan struct{})
	thinker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		thinking.Add(1)
		<-release
	}))
	t.Cleanup(thinker.Close)
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { took.Add(1) }))
	t.Cleanup(other.Close)
	p := newCourier(t, "worker")
	p.subscribe(setup.Subscription{Name: "slow", URL: thinker.URL, Concurrency: slow, Timeout: time.Minute})
	p.subscribe(setup.Subscription{Name: "quick", URL: other.URL, Concurrency: 4})
	p.deliver("slow", slow)
	eventually(t, "all of the slow receiver are under way", func() bool { return thinking.Load() == slow })
	eventually(t, "no transaction is open", func() bool {
		return p.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'") == 0
	})
	if n := p.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"); n > 25 {
		t.Errorf("%d connections, with %d deliveries under way", n, slow)
	}
	if n := p.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()"); n > 0 {
		t.Errorf("%d sessions hold back vacuum", n)
	}
	p.deliver("quick", quick)
	eventually(t, "the other receiver has all of its own", func() bool { return took.Load() == quick })
	letGo()
	eventually(t, "all are confirmed, and their timelines say so", func() bool {
		return p.count("SELECT count(*) FROM inbox JOIN outbox_journal USING (event_id) WHERE entry = 'delivered' AND detail LIKE 'status 200 after %'") == slow+quick
	})
}

// However many subscriptions there are, their deliveries use at most eight connections, and the
// process keeps some for its health checks.
func TestAllSubscriptionsShareEightConnections(t *testing.T) {
	t.Parallel()
	const subscriptions, each, share = 20, 3, 8
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(receiver.Close)
	p := newCourier(t, "worker")
	// A delivery asks the inbox first. It waits for this lock, and keeps its connection meanwhile.
	lock, err := p.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Rollback() })
	if _, err := lock.ExecContext(t.Context(), "LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	for i := range subscriptions {
		name := fmt.Sprintf("s%d", i)
		p.subscribe(setup.Subscription{Name: name, URL: receiver.URL, Concurrency: each})
		p.deliver(name, each)
	}
	inspector := asynq.NewInspectorFromRedisClient(openRedis(t, p.queue))
	eventually(t, "all deliveries are under way", func() bool {
		active := 0
		for i := range subscriptions {
			if info, err := inspector.GetQueueInfo(setup.SubscriptionQueuePrefix + fmt.Sprintf("s%d", i)); err == nil {
				active += info.Active
			}
		}
		return active == subscriptions*each
	})
	waiting := func() int {
		return p.count("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'inbox'::regclass")
	}
	eventually(t, "deliveries use their share", func() bool { return waiting() >= share })
	// A health check needs a connection of its own.
	p.process.awaitReady()
	for range 20 {
		if status := getJSON(t, p.process.monitor+"/readyz", &struct{}{}); status != http.StatusOK {
			t.Fatalf("/readyz says %d", status)
		}
		if n := waiting(); n > share {
			t.Fatalf("%d connections wait for the inbox, want at most %d", n, share)
		}
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are confirmed", func() bool { return p.count("SELECT count(*) FROM inbox") == subscriptions*each })
}

// From a producer's statement to two receivers: each gets the event under the event's ID.
func TestAnEventReachesEachReceiverUnderItsID(t *testing.T) {
	t.Parallel()
	type request struct{ path, id, queue, attempt, header string }
	requests := make(chan request, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests <- request{r.URL.Path, r.Header.Get("webhook-id"), r.Header.Get("Outboxd-Event-Queue"), r.Header.Get("Outboxd-Attempt"), r.Header.Get("Outboxd-Header-tenant")}
	}))
	t.Cleanup(server.Close)
	p := newCourier(t, "relay,worker")
	for _, name := range []string{"crm", "audit"} {
		p.subscribe(setup.Subscription{Name: name, URL: server.URL + "/" + name})
	}
	var id string
	if err := p.db.QueryRowContext(t.Context(), `SELECT outboxd.emit('user:created', '{}', queue => 'people', headers => '{"tenant": "blue"}')`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	got := map[request]bool{}
	for range 2 {
		got[<-requests] = true
	}
	for _, name := range []string{"crm", "audit"} {
		if want := (request{"/" + name, id, "people", "1", "blue"}); !got[want] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	eventually(t, "both deliveries are confirmed", func() bool { return p.count("SELECT count(*) FROM inbox") == 2 })
}

// A changed subscription applies without a restart. If its receiver then answers 410, the
// subscription is paused; after a 400 the delivery is a dead letter.
func TestDeliveriesFollowTheirSubscription(t *testing.T) {
	t.Parallel()
	var answer, took atomic.Int32
	answer.Store(200)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		took.Add(1)
		w.WriteHeader(int(answer.Load()))
	}))
	t.Cleanup(server.Close)
	p := newCourier(t, "worker")
	confirmed := func(n int) func() bool { return func() bool { return p.count("SELECT count(*) FROM inbox") == n } }
	p.subscribe(setup.Subscription{Name: "crm", URL: "http://127.0.0.1:1"})
	p.deliver("crm", 1)
	eventually(t, "an attempt without an answer is in the timeline", func() bool {
		return p.count("SELECT count(*) FROM outbox_journal WHERE entry = 'failed' AND detail LIKE '%connection refused%'") > 0
	})
	p.subscribe(setup.Subscription{Name: "crm", URL: server.URL})
	eventually(t, "the delivery arrives at the new address", confirmed(1))
	answer.Store(410)
	p.deliver("crm", 1)
	eventually(t, "the subscription is paused by 410", func() bool {
		return p.count("SELECT count(*) FROM outbox_subscriptions WHERE paused_at IS NOT NULL AND pause_reason LIKE '%status 410%'") == 1
	})
	answer.Store(400)
	p.deliver("crm", 1)
	if err := p.store.Resume(t.Context(), &domain.Action{Actor: "test"}, "crm"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a refused delivery is a dead letter", func() bool {
		return p.count("SELECT count(*) FROM outbox_dead WHERE error LIKE '%status 400%'") == 1
	})
	if n := p.count("SELECT count(*) FROM outbox_actions WHERE action IN ('pause', 'resume')"); n != 2 {
		t.Errorf("%d actions are on record, want 2", n)
	}
	if testing.Verbose() {
		fmt.Println("requests:", took.Load())
	}
}

// A receiver answers 410, but its subscription has another URL by then. The
// subscription is not paused.
func TestAFormerReceiverPausesNothing(t *testing.T) {
	t.Parallel()
	var took atomic.Int32
	present := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { took.Add(1) }))
	t.Cleanup(present.Close)
	p := newCourier(t, "worker")
	former := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := setup.Subscription{Name: "crm", Types: []string{"*"}, URL: present.URL}.WithDefaults()
		if _, err := p.store.Apply(context.Background(), &domain.Action{Actor: "test"}, []setup.Subscription{s}); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusGone)
	}))
	t.Cleanup(former.Close)
	p.subscribe(setup.Subscription{Name: "crm", URL: former.URL})
	p.deliver("crm", 1)
	eventually(t, "the present receiver has it", func() bool { return took.Load() == 1 })
	if n := p.count("SELECT count(*) FROM outbox_actions WHERE action = 'pause'"); n != 0 {
		t.Error("the subscription was paused")
	}
}

// A process that is not the worker sees that a receiver is down, and that it works
// again.
func TestDoctorSeesAReceiverThatIsDown(t *testing.T) {
	t.Parallel()
	var works atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !works.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	p := newCourier(t, "worker")
	p.subscribe(setup.Subscription{Name: "crm", URL: server.URL})
	p.deliver("crm", 6)
	doctor := func() string {
		return execute(t, nil, "doctor", "--database-url="+p.url, "--redis-url="+p.queue).stdout
	}
	eventually(t, "doctor finds the receiver down", func() bool {
		out := doctor()
		return strings.Contains(out, "receiver-down") && strings.Contains(out, "crm for ") && strings.Contains(out, "status 503")
	})
	if out := execute(t, nil, "subscriptions", "list", "--database-url="+p.url).stdout; !strings.Contains(out, "active, receiver down") {
		t.Errorf("the list says:\n%s", out)
	}
	works.Store(true)
	eventually(t, "doctor finds it no more", func() bool { return !strings.Contains(doctor(), "receiver-down") })
}
