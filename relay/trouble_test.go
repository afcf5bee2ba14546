package relay_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/relay"
	"outboxd/repository/postgres"
)

// A restarted PostgreSQL and terminated backends are the subject of
// TestPostgresRestarts and TestNothingIsLostOrDoubledWhileBackendsDie.

// trouble is a relay whose database is about to misbehave. It counts the
// relay's claims and probes, and keeps the relay's log.
type trouble struct {
	*fixture
	said           journal
	claims, probes atomic.Int64
}

// newTrouble makes a relay that works at databaseURL, which must be migrated.
func newTrouble(t *testing.T, databaseURL string, change func(*relay.Options)) *trouble {
	t.Helper()
	x := &trouble{}
	x.fixture = newFixture(t, databaseURL, servertest.Redis(t), func(o *relay.Options) {
		o.Store = countingStore{o.Store, &x.claims}
		ping := o.Database
		o.Database = func(ctx context.Context) error { x.probes.Add(1); return ping(ctx) }
		o.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), &x.said), nil))
		if change != nil {
			change(o)
		}
	})
	return x
}

// reported waits until the relay has said and shown that it cannot use the
// database.
func (x *trouble) reported() {
	x.t.Helper()
	servertest.Eventually(x.t, "the outage is reported", func() bool { return x.relay.DatabaseUsable() != nil })
	if got := x.counter("outboxd_relay_breaker_open", "server", "database"); got != 1 {
		x.t.Errorf("the breaker's gauge is %v during the outage, want 1", got)
	}
	if domain.ErrorCode(x.relay.DatabaseUsable()) != domain.CodeUnavailable {
		x.t.Errorf("the outage is reported as %v", x.relay.DatabaseUsable())
	}
}

// patient watches the relay for a second and a half of the outage. An open
// breaker's pauses double from 50 ms to 1 s and may be half as long, so there
// are about six probes. After each successful probe both pollers may claim.
// Without pauses there would be thousands of attempts.
func (x *trouble) patient() {
	x.t.Helper()
	const watched, most = 1500 * time.Millisecond, 16
	x.claims.Store(0)
	x.probes.Store(0)
	<-time.After(watched)
	if claims, probes := x.claims.Load(), x.probes.Load(); claims > 2*most || probes > most {
		x.t.Errorf("%d claims and %d probes in %v of an outage", claims, probes, watched)
	} else if claims+probes == 0 {
		x.t.Error("gave up")
	}
	if x.relay.DatabaseUsable() == nil {
		x.t.Error("the outage counts as over while it lasts")
	}
}

// recovered waits until all events were delivered: each is in Redis and in the history
// once, and the outage cost none an attempt. The given database can be asked.
func (x *trouble) recovered(at *postgres.Database, events, outages int) {
	x.t.Helper()
	after := *x.fixture
	after.db = at
	after.eventually(events, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
	after.eventually(0, "SELECT count(*) FROM outbox")
	if n := after.count("SELECT count(DISTINCT id) FROM outbox_sent"); n != events {
		x.t.Errorf("%d events in the history, want %d", n, events)
	}
	if n := len(x.tasks("default")); n != events {
		x.t.Errorf("%d tasks in Redis, want %d", n, events)
	}
	servertest.Eventually(x.t, "the outage is over", func() bool { return x.relay.DatabaseUsable() == nil })
	if got := x.counter("outboxd_relay_breaker_open", "server", "database"); got != 0 {
		x.t.Errorf("the breaker's gauge is %v after the outage, want 0", got)
	}
	for _, line := range []string{"the database cannot be used", "the database works again"} {
		if n := x.said.count(line); n != outages {
			x.t.Errorf("said %d times %q, want %d", n, line, outages)
		}
	}
}

// countingStore counts claims, also those that fail.
type countingStore struct {
	domain.EventStore
	claims *atomic.Int64
}

func (s countingStore) Claim(ctx context.Context, from domain.Cursor, limit int, except ...string) (domain.Batch, error) {
	s.claims.Add(1)
	return s.EventStore.Claim(ctx, from, limit, except...)
}

// holdingPublisher publishes its first batch and then hangs, until the channel on is
// closed or the test ends.
type holdingPublisher struct {
	domain.Publisher
	test     context.Context
	first    sync.Once
	held, on chan struct{}
}

func holding(t *testing.T, of domain.Publisher) *holdingPublisher {
	return &holdingPublisher{Publisher: of, test: t.Context(), held: make(chan struct{}), on: make(chan struct{})}
}

func (p *holdingPublisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts := p.Publisher.Publish(ctx, events)
	p.first.Do(func() {
		close(p.held)
		select {
		case <-p.on:
		case <-p.test.Done():
		}
	})
	return receipts
}

// journal is a log that can be searched.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(text []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(text)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

// emit150 is emitMany for a session, which takes no parameters.
const emit150 = `INSERT INTO outbox (event_type, payload) SELECT 'test:'||n, '' FROM generate_series(1, 150) n`

// migrated applies the migrations to the database at url, and returns url.
func migrated(t *testing.T, url string) string {
	t.Helper()
	migrate(t, schematest.Connect(t, url))
	return url
}
