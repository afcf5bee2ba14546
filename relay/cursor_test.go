package relay

import (
	"testing"
	"time"

	"outboxd/domain"
)

// found is a batch as a scan returns it.
type found struct {
	domain.Batch
	events []domain.Event
	full   bool
	now    time.Time
}

func (f found) Events() []domain.Event { return f.events }
func (f found) Full() bool             { return f.full }
func (f found) Now() time.Time         { return f.now }
func (f found) Held() int              { return 0 }
func (f found) Reached() domain.Cursor {
	if len(f.events) == 0 {
		return domain.Cursor{}
	}
	return f.events[len(f.events)-1].Cursor()
}

func events(due ...time.Time) []domain.Event {
	list := make([]domain.Event, len(due))
	for i := range due {
		list[i] = domain.Event{ID: domain.ID{byte(i + 1)}, Available: due[i]}
	}
	return list
}

func TestCursorGoesOnAndSweeps(t *testing.T) {
	t.Parallel()
	var c cursor
	clock := time.Now()
	old := clock.Add(-time.Hour)

	first := c.next(clock)
	if !first.sweep {
		t.Fatal("the first scan is not from the beginning")
	}
	batch := found{events: events(old, old.Add(time.Second)), full: true, now: clock}
	clock = clock.Add(10 * time.Millisecond)
	if c.done(first, batch, clock) {
		t.Error("another scan though this one found events")
	}
	second := c.next(clock)
	if second.sweep || second.from != batch.events[1].Cursor() {
		t.Errorf("the second scan is %+v, want one after %+v", second, batch.events[1].Cursor())
	}
	// A busy relay sweeps once a second.
	clock = clock.Add(sweepEvery)
	if s := c.next(clock); !s.sweep {
		t.Error("no sweep after a second")
	}
	if s := c.next(clock); s.sweep {
		t.Error("two sweeps at once")
	}
}

func TestCursorSweepsWhenNothingElseIsDue(t *testing.T) {
	t.Parallel()
	var c cursor
	clock := time.Now()
	sweep := c.next(clock)
	clock = clock.Add(time.Millisecond) // this sweep took a millisecond
	c.done(sweep, found{events: events(clock.Add(-time.Hour)), now: clock}, clock)

	fast := c.next(clock)
	if fast.sweep {
		t.Fatal("a sweep right after a sweep")
	}
	if clock = clock.Add(sweepShare * time.Millisecond / 2); c.done(fast, found{now: clock}, clock) {
		t.Error("a sweep before its share of the time has come")
	}
	if s := c.next(clock); s.sweep {
		t.Error("a sweep before its share of the time has come")
	}
	if clock = clock.Add(sweepShare * time.Millisecond); !c.done(fast, found{now: clock}, clock) {
		t.Error("no sweep though nothing else is due")
	}
	if s := c.next(clock); !s.sweep {
		t.Error("the next scan is no sweep")
	}
}

// A sweep that costs much is rare, however idle the relay.
func TestCursorBoundsWhatSweepsCost(t *testing.T) {
	t.Parallel()
	var c cursor
	begin := time.Now()
	clock, sweeping := begin, time.Duration(0)
	for clock.Sub(begin) < time.Minute {
		s := c.next(clock)
		cost := 100 * time.Microsecond
		if s.sweep {
			cost = 200 * time.Millisecond
			sweeping += cost
		}
		clock = clock.Add(cost)
		c.done(s, found{now: clock}, clock)
		clock = clock.Add(10 * time.Millisecond)
	}
	if sweeping > time.Minute/sweepShare+200*time.Millisecond {
		t.Errorf("sweeps took %v of a minute", sweeping)
	}
	if sweeping == 0 {
		t.Error("no sweep in a minute")
	}
}

func TestCursorStaysBehindWhatMayStillCommit(t *testing.T) {
	t.Parallel()
	var c cursor
	clock := time.Now()
	s := c.next(clock)
	c.done(s, found{events: events(clock), now: clock}, clock)
	if got, want := c.next(clock).from.Due, clock.Add(-cursorSlack); !got.Equal(want) {
		t.Errorf("the cursor stands at %v, want %v, which is before the present", got, want)
	}
}

// Events of slow transactions: after the first of them, the scans from the cursor find the others, so they need not
// wait for a sweep. Without such events, the cursor comes nearer to the present again.
func TestCursorStaysBehindAsFarAsEventsComeLate(t *testing.T) {
	t.Parallel()
	var c cursor
	clock := time.Now()
	scan := func(due ...time.Time) (from time.Time) {
		s := c.next(clock)
		c.done(s, found{events: events(due...), now: clock}, clock.Add(time.Millisecond))
		return s.from.Due
	}
	scan(clock)
	clock = clock.Add(sweepEvery)
	scan(clock.Add(-200 * time.Millisecond)) // by a sweep
	for range 20 {
		clock = clock.Add(20 * time.Millisecond)
		due := clock.Add(-190 * time.Millisecond)
		if from := scan(due, clock); from.After(due) {
			t.Fatalf("a scan began at %v, %v after the due time of an event as late as the one before", from, from.Sub(due))
		}
	}
	clock = clock.Add(slackFor + time.Second)
	scan(clock)
	if got, want := c.next(clock).from.Due, clock.Add(-cursorSlack); !got.Equal(want) {
		t.Errorf("long after the last late event the cursor stands %v behind the present", clock.Sub(got))
	}
	clock = clock.Add(sweepEvery)
	scan(clock.Add(-time.Hour)) // by a sweep
	scan(clock)
	if got, want := c.next(clock).from.Due, clock.Add(-slackMost); got.Before(want) {
		t.Errorf("after a very late event the cursor stands %v behind the present", clock.Sub(got))
	}
}

// One sweep that waited for a busy machine does not delay the sweeps after it.
func TestCursorForgivesOneSlowSweep(t *testing.T) {
	t.Parallel()
	var c cursor
	clock := time.Now()
	for _, cost := range []time.Duration{time.Millisecond, 300 * time.Millisecond} {
		clock = clock.Add(sweepEvery)
		s := c.next(clock)
		if !s.sweep {
			t.Fatal("no sweep")
		}
		clock = clock.Add(cost)
		c.done(s, found{now: clock}, clock)
	}
	if clock = clock.Add(sweepShare * time.Millisecond); !c.next(clock).sweep {
		t.Error("a sweep has to wait as if every sweep took as long as the slow one")
	}
}

func TestCursorStepsBackForWhatWasLost(t *testing.T) {
	t.Parallel()
	var c cursor
	clock := time.Now()
	old := events(clock.Add(-time.Hour), clock.Add(-time.Minute))
	s := c.next(clock)
	c.done(s, found{events: old, full: true, now: clock}, clock)
	c.lost(old[0].Cursor())
	if from := c.next(clock).from; from.Compare(old[0].Cursor()) >= 0 {
		t.Errorf("the cursor stands at %+v, beyond the lost event %+v", from, old[0].Cursor())
	}
	c.lost(old[1].Cursor())
	if from := c.next(clock).from; from.Compare(old[0].Cursor()) >= 0 {
		t.Error("a later loss moved the cursor on")
	}
}

// One large transaction that committed late leaves many events behind the cursor, and a sweep steps back to them. A
// scan that had begun before must not move the cursor past them again.
func TestCursorStaysWhereASweepSteppedBackTo(t *testing.T) {
	t.Parallel()
	for name, stepBack := range map[string]func(c *cursor, late []domain.Event, now time.Time){
		"sweep": func(c *cursor, late []domain.Event, now time.Time) {
			s := c.next(now)
			if !s.sweep {
				t.Fatal("no sweep")
			}
			c.done(s, found{events: late, full: true, now: now}, now)
		},
		"lost batch": func(c *cursor, late []domain.Event, _ time.Time) { c.lost(late[1].Cursor()) },
	} {
		var c cursor
		clock := time.Now()
		c.done(c.next(clock), found{events: events(clock.Add(-time.Second)), full: true, now: clock}, clock)
		underWay := c.next(clock)
		late := events(clock.Add(-time.Hour), clock.Add(-time.Minute))
		clock = clock.Add(sweepEvery)
		stepBack(&c, late, clock)
		c.done(underWay, found{events: events(clock.Add(-sweepEvery)), full: true, now: clock}, clock)
		if from := c.next(clock).from; from.Compare(late[1].Cursor()) > 0 {
			t.Errorf("%s: the cursor stands at %v, beyond what is left after %v", name, from.Due, late[1].Available)
		}
		again := c.next(clock)
		c.done(again, found{events: events(clock.Add(-sweepEvery)), full: true, now: clock}, clock)
		if from := c.next(clock).from; from.Compare(late[1].Cursor()) <= 0 {
			t.Errorf("%s: a later scan does not move the cursor on", name)
		}
	}
}

// After a scan from the cursor that found events, there may be older ones before the cursor, as after a heal.
func TestCursorOwesASweepAfterEventsAheadOfIt(t *testing.T) {
	t.Parallel()
	var c cursor
	clock := time.Now()
	c.done(c.next(clock), found{events: events(clock), now: clock}, clock)
	if _, owed := c.untilSweep(clock); owed {
		t.Error("a sweep is owed right after one")
	}
	clock = clock.Add(sweepEvery / 10)
	ahead := c.next(clock)
	if ahead.sweep {
		t.Fatal("the second scan is a sweep")
	}
	c.done(ahead, found{events: events(clock), now: clock}, clock)
	wantOwedSweep(t, &c, clock, sweepEvery-sweepEvery/10)
}

// If a scan finds nothing soon after an expensive sweep, the cursor says when the next sweep is allowed.
func TestCursorSaysWhenASweepIsOwed(t *testing.T) {
	t.Parallel()
	const cost = time.Millisecond
	var c cursor
	clock := time.Now()
	sweep := c.next(clock)
	clock = clock.Add(cost)
	c.done(sweep, found{now: clock}, clock)
	if _, owed := c.untilSweep(clock); owed {
		t.Error("a sweep is owed right after one that found nothing")
	}
	clock = clock.Add(cost)
	if c.done(c.next(clock), found{now: clock}, clock) {
		t.Fatal("a sweep before its share of the time has come")
	}
	wantOwedSweep(t, &c, clock, (sweepShare-1)*cost)
}

// wantOwedSweep wants a sweep to be owed and to be possible after the given time, and makes it.
func wantOwedSweep(t *testing.T, c *cursor, clock time.Time, after time.Duration) {
	t.Helper()
	if wait, owed := c.untilSweep(clock); !owed || wait != after {
		t.Errorf("a sweep is possible in %v (owed: %t), want %v", wait, owed, after)
	}
	clock = clock.Add(after)
	if !c.next(clock).sweep {
		t.Error("no sweep at that time")
	}
	if _, owed := c.untilSweep(clock); owed {
		t.Error("it is owed while it is made")
	}
}
