package relay_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/relay"
	"outboxd/repository/postgres"
)

// The limit on how late an event can be while its process works and its servers
// answer. The time is counted from when the event was due and its transaction
// had committed:
//
//   - An event behind the cursor waits for the next sweep. A process begins a
//     sweep with the first claim after max(sweepEvery, sweepShare * the shorter
//     time of the last two sweeps). Claims are no further apart than a busy
//     relay's longest nap or, while all pollers are in a pass, one pass.
//   - The sweep takes the oldest due events first. If there are more than it can
//     take, the cursor steps back to where the sweep ended: the remaining events
//     are then ahead of the cursor.
//   - An event ahead of the cursor waits only for the events due before it. A
//     refused event gets a new due time after its refusal, so it is before
//     another event once at most.
//   - The event is then in Redis before its own pass ends.
//
// So the limit is max(sweepEvery, sweepShare * sweep) + nap + pass, plus the
// time that the relays take for the events before it, plus one more pass.
// docs/explanation/lateness.md says the same in the users' words.
const (
	sweepEvery = time.Second
	sweepShare = 20
	longestNap = 10 * time.Millisecond
	// room allows for a busy machine.
	room = time.Second
)

// bound computes the limit on lateness (see sweepEvery) from the slowest sweep and pass that were
// seen. The parameter before is how many events can be due before another.
func (w *witness) bound(before int) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(sweepEvery, sweepShare*w.sweep) + longestNap + w.pass + w.slowest(before) + w.pass + room
}

// inTime fails the test if an attempt came later than the limit.
func (w *witness) inTime(t *testing.T, word string, limit time.Duration) {
	t.Helper()
	waits := w.waits(t, word)
	latest := waits[len(waits)-1]
	t.Logf("%s: %d attempts, half of them within %v, the latest after %v; the bound is %v", word, len(waits), waits[len(waits)/2], latest, limit)
	if latest > limit {
		t.Errorf("%s: a due event waited for %v, longer than the bound of %v", word, latest, limit)
	}
}

// refuse makes Redis refuse the events of a queue until heal is called. It writes a
// string where Asynq's script wants a list.
func (f *fixture) refuse(queue string) (heal func()) {
	f.t.Helper()
	key := "asynq:{" + queue + "}:pending"
	if err := f.redis.Set(f.t.Context(), key, "x", 0).Err(); err != nil {
		f.t.Fatal(err)
	}
	return func() {
		f.t.Helper()
		if err := f.redis.Del(f.t.Context(), key).Err(); err != nil {
			f.t.Fatal(err)
		}
	}
}

// One event in ten goes to the queue whose events Redis refuses.
const emitTenthRefused = `INSERT INTO outbox (event_type, payload, queue)
	SELECT $1, '', CASE n % 10 WHEN 0 THEN 'refusing' ELSE 'default' END FROM generate_series(1, $2::int) n`

// producer writes events in transactions whose commits the witness knows.
type producer struct {
	t       testing.TB
	db      *postgres.Database
	w       *witness
	written map[string]int // by the first word of the type
}

// begin writes events of a type that no other transaction uses.
func (p *producer) begin(kind, statement string, events int) (commit func()) {
	p.t.Helper()
	tx, err := p.db.SQL().BeginTx(p.t.Context(), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := tx.ExecContext(p.t.Context(), statement, kind, events); err != nil {
		p.t.Fatal(err)
	}
	return func() {
		p.t.Helper()
		p.written[firstWord(kind)] += events
		p.w.commits(kind)
		if err := tx.Commit(); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *producer) untried(word string) int {
	return p.written[word] - see(p.w, func(w *witness) int { return w.tried[word] })
}

// flood writes events as fast as needed, so that at least so many of them are always untried. It
// ends when the function enough returns true, or when the time limit is over: then it returns
// false. If the pollers cannot take so many events at once, no scan from a cursor comes back
// empty meanwhile.
func (p *producer) flood(waiting int, limit time.Duration, enough func() bool) bool {
	p.t.Helper()
	const block = 100
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for begun := time.Now(); !enough(); <-look.C {
		if time.Since(begun) > limit {
			return false
		}
		for p.untried("flood") < waiting {
			p.begin(fmt.Sprintf("flood:%d", p.written["flood"]), emitTenthRefused, block)()
		}
	}
	return true
}

// The method within floods until all events of a kind were tried, or have waited longer than the
// bound. The flood must not end earlier, because its end would cause a sweep.
func (p *producer) within(bound func() time.Duration, waiting int, word string) {
	p.t.Helper()
	tried := func() bool { return p.untried(word) == 0 }
	begun := time.Now()
	for limit := bound(); !p.flood(waiting, limit-time.Since(begun), tried); {
		// The machine may have become slower, and the bound longer.
		if limit = bound(); time.Since(begun) > limit {
			p.t.Errorf("%s: %d of %d events still wait %v after the last of them was committed; the bound is %v",
				word, p.untried(word), p.written[word], time.Since(begun), limit)
			return
		}
	}
}

// Eight pollers of two relays work under a flood, so that only the clock calls
// for sweeps. Redis refuses every tenth event, each time. Some transactions
// commit a second or more after they began, and leave their events far behind the
// cursors; one of them has many batches of events. No attempt, whether an event's
// first or a retry, comes later than the bound.
func TestNoDueEventWaitsLongerThanTheBound(t *testing.T) {
	t.Parallel()
	const (
		batch        = 50
		waiting      = 3 * 8 * batch // of the flood: more than eight pollers take at once
		openFor      = time.Second
		transactions = 4
		few, many    = 10, 1500 // events of a late transaction
		patience     = 30 * time.Second
	)
	w := newWitness()
	url, redisURL := schematest.Database(t), servertest.Redis(t)
	process := func(id byte) *fixture {
		return newFixture(t, url, redisURL, func(o *relay.Options) {
			o.Concurrency, o.BatchSize, o.Process.ID = 4, batch, domain.ID{id}
			o.MaxAttempts, o.BackoffBase, o.BackoffMax = 1000, time.Second/2, 2*time.Second
			o.Logger = slog.New(slog.DiscardHandler) // each pass warns of refusals
			w.watch(o)
		})
	}
	first, second := process(1), process(2)
	heal := first.refuse("refusing")
	stops := []func(){first.start(), second.start()}

	p := &producer{t: t, db: schematest.Connect(t, url), w: w, written: map[string]int{}}
	flood := func(moment time.Time) {
		t.Helper()
		if !p.flood(waiting, patience, func() bool { return see(w, func(w *witness) bool { return w.reached.After(moment) }) }) {
			t.Fatalf("the flood did not get as far as %v", moment)
		}
	}
	flood(time.Now())
	late := make([]func(), transactions)
	opened := time.Now()
	for i := range late {
		events := few
		if i == 1 {
			events = many
		}
		late[i] = p.begin(fmt.Sprintf("late:%d", i), emitTenthRefused, events)
	}
	for i, commit := range late {
		flood(opened.Add(openFor + time.Duration(i)*sweepEvery/3))
		commit()
	}
	bound := func() time.Duration { return w.bound(waiting + many + p.written["flood"]/10) }
	p.within(bound, waiting, "late")
	sweeps := see(w, func(w *witness) int { return w.sweeps })
	heal()
	first.eventually(0, "SELECT count(*) FROM outbox")
	for _, stop := range stops {
		stop()
	}

	w.inTime(t, "flood", bound())
	w.inTime(t, "late", bound())
	events := p.written["flood"] + p.written["late"]
	if n := len(first.tasks("default")) + len(first.tasks("refusing")); n != events {
		t.Errorf("%d tasks in Redis, want %d", n, events)
	}
	if w.refused < events/20 {
		t.Errorf("Redis refused %d times, of %d events: this is no test of refusals", w.refused, events)
	}
	t.Logf("%d events, %d refusals; %d sweeps in the flood, the slowest %v; the slowest pass %v", events, w.refused, sweeps, w.sweep, w.pass)
}

// A delayed event is in Redis soon after its time, though the relay polls once an
// hour. Two of five must be, because the machine may be busy with something else
// during the others. The test does not run beside other tests of this package,
// which would keep the machine busy.
func TestADelayedEventStartsOnTime(t *testing.T) {
	const promise = 500 * time.Millisecond // on an idle machine it is a few milliseconds
	// Each event is due before those that were written earlier, so that each is
	// a reason to wake up sooner. The due times are far apart, so that the naps
	// which follow a claim are over.
	delays := []time.Duration{3500 * time.Millisecond, 2800 * time.Millisecond, 2100 * time.Millisecond, 1400 * time.Millisecond, 700 * time.Millisecond}
	for name, announced := range map[string]bool{"announced": true, "there before the relay": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWitness()
			f := newFixture(t, schematest.Database(t), servertest.Redis(t), w.watch)
			if announced {
				f.start()
				f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
			}
			for _, delay := range delays {
				f.exec("SELECT outboxd.emit('delayed:event', '{}', available_at => now() + $1 * interval '1 ms')", delay.Milliseconds())
			}
			if !announced {
				f.start()
			}
			f.eventually(len(delays), "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
			waits := w.waits(t, "delayed")
			t.Logf("late by %v", waits)
			if waits[0] < 0 {
				t.Errorf("an event was in Redis %v before its time", -waits[0])
			}
			if waits[1] > promise {
				t.Errorf("delayed events were in Redis %v after their time, want two of them within %v", waits, promise)
			}
		})
	}
}

// Redis refuses hundreds of events of one queue, which are due again at once, all
// the time. Meanwhile the events of another queue are enqueued within the bound.
func TestARefusedQueueDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	const (
		refused  = 500
		block    = 10
		events   = 40 * block
		patience = 30 * time.Second
	)
	w := newWitness()
	url := schematest.Database(t)
	f := newFixture(t, url, servertest.Redis(t), func(o *relay.Options) {
		o.Concurrency, o.MaxAttempts, o.BackoffMax = 4, 1_000_000, time.Millisecond
		o.Logger = slog.New(slog.DiscardHandler) // each pass warns of refusals
		w.watch(o)
	})
	f.refuse("refusing")
	stop := f.start()
	p := &producer{t: t, db: schematest.Connect(t, url), w: w, written: map[string]int{}}
	p.begin("bad:1", "INSERT INTO outbox (event_type, payload, queue) SELECT $1, '', 'refusing' FROM generate_series(1, $2::int)", refused)()
	refusals := func(more int) {
		t.Helper()
		before := see(w, func(w *witness) int { return w.refused })
		if !p.flood(0, patience, func() bool { return see(w, func(w *witness) int { return w.refused }) >= before+more }) {
			t.Fatalf("%d refusals did not become %d more", before, more)
		}
	}
	refusals(refused)
	for n := 0; n < events; n += block {
		p.begin(fmt.Sprintf("good:%d", n), "INSERT INTO outbox (event_type, payload) SELECT $1, '' FROM generate_series(1, $2::int)", block)()
		refusals(1) // between any two of them
	}
	bound := func() time.Duration { return w.bound(refused + events) }
	p.within(bound, 0, "good")
	refusals(refused)
	stop()

	w.inTime(t, "good", bound())
	if n := f.count("SELECT count(*) FROM outbox_sent WHERE attempts = 0"); n != events {
		t.Errorf("%d events sent, want %d", n, events)
	}
	if n := f.count("SELECT count(*) FROM outbox WHERE queue = 'refusing'"); n != refused {
		t.Errorf("%d refused events wait, want %d", n, refused)
	}
	t.Logf("%d refusals; the slowest sweep %v, the slowest pass %v", w.refused, w.sweep, w.pass)
}
