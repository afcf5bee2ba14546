package relay_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/relay"
)

// panicky panics on events of one type, as a library might on the content of an event.
type panicky struct{ domain.Publisher }

func (p panicky) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	for i := range events {
		if events[i].Type == "test:odd" {
			panic("odd")
		}
	}
	return p.Publisher.Publish(ctx, events)
}

func TestAPanicOverOneEventIsThatEventsAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), func(o *relay.Options) { o.Publisher = panicky{o.Publisher} })
	f.exec(emitMany, 20)
	f.exec("INSERT INTO outbox (event_type, payload) VALUES ('test:odd', '')")
	f.exec(emitMany, 20)
	f.start()
	f.eventually(40, "SELECT count(*) FROM outbox_sent")
	f.eventually(1, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:odd' AND error LIKE '%panic: odd%'")
}

// counting counts the calls of Claim (claims) and of NextDue (looks).
type counting struct {
	domain.EventStore
	claims, looks atomic.Int64
}

func (c *counting) Claim(ctx context.Context, from domain.Cursor, limit int, except ...string) (domain.Batch, error) {
	c.claims.Add(1)
	return c.EventStore.Claim(ctx, from, limit, except...)
}

func (c *counting) NextDue(ctx context.Context, overdue bool) (time.Duration, bool, error) {
	c.looks.Add(1)
	return c.EventStore.NextDue(ctx, overdue)
}

// After a long nap the relay looks whether an event is due, and claims only if one is. It finds an
// event that nobody told it of, also one that has been due for long.
func TestAnIdleRelayLooksBeforeItClaims(t *testing.T) {
	t.Parallel()
	var store *counting
	f := newFixture(t, servertest.Database(t), servertest.Redis(t), func(o *relay.Options) {
		store = &counting{EventStore: o.Store}
		o.Store, o.PollMin, o.PollInterval, o.PollWithoutListen, o.Listen, o.Concurrency = store, 1500*time.Millisecond, 1500*time.Millisecond, 1500*time.Millisecond, false, 1
	})
	f.start()
	// The first claim finds nothing, and each look after it belongs to a nap.
	servertest.Eventually(t, "the relay has looked after a nap", func() bool { return store.looks.Load() >= 3 })
	if claims := store.claims.Load(); claims > 2 {
		t.Errorf("%d claims of an empty outbox", claims)
	}
	f.exec("INSERT INTO outbox (event_type, payload, available_at) VALUES ('test:late', '', now() - interval '1 hour')")
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
}

// The first nap after a claim that found events ends with a look, and not with another claim.
func TestTheFirstNapAfterWorkEndsWithALook(t *testing.T) {
	t.Parallel()
	var store *counting
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), func(o *relay.Options) {
		store = &counting{EventStore: o.Store}
		o.Store, o.PollMin, o.PollInterval, o.PollWithoutListen, o.Listen, o.Concurrency = store, 900*time.Millisecond, 5*time.Second, 5*time.Second, false, 1
	})
	f.exec(emitMany, 1)
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
	claims := store.claims.Load()
	// The poller looks at the beginning of the nap, for how long it may be, and at its end.
	servertest.Eventually(t, "the relay has looked after its first nap", func() bool { return store.looks.Load() >= 2 })
	if n := store.claims.Load(); n != claims {
		t.Errorf("%d claims after the one that found the event", n-claims)
	}
	f.exec("INSERT INTO outbox (event_type, payload, available_at) VALUES ('test:late', '', now() - interval '1 hour')")
	f.eventually(2, "SELECT count(*) FROM outbox_sent")
}

// An event that gets due in thousands of years is no reason to look now. The
// difference of the times once overflowed, and the relay took every moment for
// the due time.
func TestAnEventOfALaterAgeLeavesTheRelayIdle(t *testing.T) {
	t.Parallel()
	var store *counting
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), func(o *relay.Options) {
		store = &counting{EventStore: o.Store}
		o.Store, o.PollMin = store, time.Hour
	})
	f.exec("INSERT INTO outbox (event_type, payload, available_at) VALUES ('test:a', '', '9999-12-31')")
	due, found, err := f.options.Store.NextDue(t.Context(), false)
	if err != nil || found {
		t.Errorf("the next event is due in %v: %t, %v", due, found, err)
	}
	f.start()
	// Each wake-up is one event: with its delivery, all that it caused has been seen.
	for n := 1; n <= 10; n++ {
		f.exec("INSERT INTO outbox (event_type, payload) VALUES ('test:b', '')")
		f.eventually(n, "SELECT count(*) FROM outbox_sent")
	}
	if claims := store.claims.Load(); claims > 200 {
		t.Errorf("%d claims for 10 events", claims)
	}
}

// The offsets of time zones once had seconds. Not every parser reads such a time.
func TestTimesOfLongAgoAreHeldLikeOthers(t *testing.T) {
	t.Parallel()
	for zone, at := range map[string]string{
		"Europe/Berlin": "0001-01-01 00:00Z", "Europe/Amsterdam": "1900-01-01 00:00Z", "America/New_York": "0044-03-15 00:00Z", "Asia/Kathmandu": "9999-12-31 23:59:59.999999Z",
	} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, schematest.Database(t)+"&timezone="+zone, servertest.Redis(t), nil)
			f.exec("INSERT INTO outbox (event_type, payload, ordering_key) VALUES ('test:first', '', 'k')")
			f.start()
			f.eventually(1, "SELECT count(*) FROM outbox_sent")
			f.exec("INSERT INTO outbox (event_type, payload, ordering_key, available_at, created_at) VALUES ('test:second', '', 'k', least($1, now()), $1)", at)
			f.eventually(1, "SELECT count(*) FROM outbox_held")
			f.exec("SELECT outboxd.confirm(id) FROM outbox_sent")
			f.eventually(2, "SELECT count(*) FROM outbox_sent")
		})
	}
}

// refusing refuses events of one type, as Redis might.
type refusing struct{ domain.Publisher }

func (r refusing) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts := r.Publisher.Publish(ctx, events)
	for i := range events {
		if events[i].Type == "test:odd" {
			receipts[i] = domain.Receipt{Answer: domain.Rejected, Err: errors.New("no")}
		}
	}
	return receipts
}

// An event that Redis, the outbox and the dead letters all refuse holds up no other event, and fails no poller.
func TestAnEventThatEverybodyRefusesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t, schematest.Database(t), servertest.Redis(t), func(o *relay.Options) { o.Publisher = refusing{o.Publisher} })
	f.exec(emitMany, 20)
	f.exec("INSERT INTO outbox (event_type, payload) VALUES ('test:odd', '')")
	f.exec("ALTER TABLE outbox ADD CONSTRAINT stricter_by_now CHECK (event_type <> 'test:odd') NOT VALID")
	f.exec("ALTER TABLE outbox_dead ADD CONSTRAINT no_dead CHECK (event_type <> 'test:odd')")
	f.exec(emitMany, 20)
	f.start()
	f.eventually(40, "SELECT count(*) FROM outbox_sent")
	f.eventually(1, "SELECT count(*) FROM outbox")
}
