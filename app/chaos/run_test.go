package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say what a run is. A field is required unless it says what its zero
// value means.
type Options struct {
	Seed     uint64
	Profile  Profile
	Servers  Servers
	Commands Commands
	Folder   string // for the journals; private to the run
	Log      *slog.Logger
	Say      func(format string, args ...any) // for a person who watches

	// Events is how many the producers write; 0: as many as Rate and Duration
	// make.
	Events   int
	Duration time.Duration // of the faults; a bound where Events says how many events
	Rate     float64       // events a second of all producers; 0: as fast as they can
	Largest  int           // events of a transaction at most

	Relays, Pollers int // processes, and pollers in each
	Producers       int
	Workers         int // 0: nothing takes effect, and all stays in Redis
	// Backlog is how many events wait before the first relay or worker starts.
	// 0: none.
	Backlog int
	// Leaving stops the workers when three quarters of the events have committed, and
	// starts them again after a first count.
	Leaving bool
	Failing float64 // part of the tasks that fail and are tried again; 0: none
	Keyed   bool    // some events belong to keys of which outboxd knows nothing, and their order is looked at
	// Ordered gives a quarter of the events an ordering key, within which they
	// have to take effect in the order of their commits. Only the first event of
	// each key gets into Redis while there are no workers.
	Ordered bool
	// Wide gives events to other consumers too: some fan out to two receivers over
	// HTTP, and some take effect in another database. Some events are due later, and
	// producers cancel or reschedule some. Wide needs workers.
	Wide bool
}

// run is one run.
type run struct {
	o         Options
	admin     *pgxpool.Pool
	queue     queue
	fleet     *fleet
	weather   *weather
	receivers []*receiver
	elsewhere *pgxpool.Pool // the database of the consumer that has its own; nil: none
	report    *Report
}

// Run runs once, and returns what it counted. An error says that the run did not get to
// its end, or that a process misbehaved in a way that no fault excuses. The report
// then has what is known so far; it is never nil. No process is left running.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	report := &Report{Seed: o.Seed, Profile: o.Profile.Name}
	if o.Servers, err = o.Servers.asFleet(); err != nil {
		return report, err
	}
	r := &run{o: o, fleet: newFleet(o), report: report}
	admin, handle, err := o.Servers.open(ctx)
	if err != nil {
		return r.report, err
	}
	defer admin.Close()
	client := handle.Client()
	defer func() { _ = client.Close() }()
	r.admin, r.queue = admin, queue{client, handle.CanaryKeys}
	if err := r.prepare(ctx); err != nil {
		return r.report, err
	}
	for _, odds := range o.Profile.Odds {
		if !o.Servers.possible(odds.Kind) {
			o.Say("left out, because it is not possible here: %s", odds.Kind)
		}
	}
	defer r.closeReceivers()
	injector := &injector{
		fleet: r.fleet, servers: o.Servers, admin: admin, redis: client, receivers: r.receivers, say: o.Say,
		open: map[string]bool{}, down: map[Server]bool{}, changed: map[Kind]bool{}, owed: map[Server][]func(context.Context) error{}, paused: map[*slot]int{},
	}
	r.weather = newWeather(injector, NewPlan(o.Profile, o.Seed), o.Say)
	defer func() {
		r.weather.clear()
		// Processes that were stopped already are not stopped again.
		err = errors.Join(err, stop(context.WithoutCancel(ctx), r.fleet.all()))
		r.report.close(r.weather, r.fleet)
	}()
	if err := r.storm(ctx); err != nil {
		return r.report, fmt.Errorf("while faults fell: %w", err)
	}
	if err := r.settle(ctx); err != nil {
		return r.report, fmt.Errorf("after the last fault: %w", err)
	}
	return r.report, nil
}

func (r *run) prepare(ctx context.Context) error {
	if err := r.admit(ctx); err != nil {
		return err
	}
	if err := openLedger(ctx, r.admin); err != nil || !r.o.Wide {
		return err
	}
	if err := r.openElsewhere(ctx); err != nil {
		return err
	}
	return r.openReceivers()
}

const (
	lookEvery = 250 * time.Millisecond // at what has been done
	tellEvery = 10 * time.Second       // whoever watches
)

// storm runs everything while faults fall, until the time is over or all events
// are through.
func (r *run) storm(ctx context.Context) error {
	begun := time.Now()
	start(r.fleet.producers)
	steps := r.steps()
	for told, over := begun, false; !over; {
		if err := r.weather.until(ctx, time.Now().Add(lookEvery)); err != nil {
			return err
		}
		if err := errors.Join(r.fleet.health(), r.weather.injector.broken); err != nil {
			return err
		}
		over = time.Since(begun) >= r.o.Duration
		if len(r.weather.injector.down) > 0 || !r.weather.injector.mended() {
			continue
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			text, err := r.progress(ctx)
			if err != nil {
				return err
			}
			r.o.Say("%8.3fs %s", time.Since(begun).Seconds(), text)
		}
		if len(steps) > 0 && r.committed(ctx) >= steps[0].at {
			r.o.Say("%8.3fs %s", time.Since(begun).Seconds(), steps[0].what)
			if err := steps[0].do(ctx); err != nil {
				return err
			}
			steps = steps[1:]
		}
		if r.o.Events > 0 && len(steps) == 0 && finished(r.fleet.producers) {
			drained, err := r.drained(ctx)
			if err != nil {
				return err
			}
			over = over || drained
		}
	}
	r.report.Storm = time.Since(begun)
	r.weather.clear()
	if cluster := r.o.Servers.Cluster; cluster != nil {
		cluster.Mend(keysOf("pending")...)
	}
	start(r.fleet.relays)
	return r.weather.injector.broken
}

// step is an action to take after a given number of events have committed.
type step struct {
	at   int
	what string
	do   func(context.Context) error
}

func (r *run) steps() []step {
	steps := []step{{r.o.Backlog, "relays and workers start", func(context.Context) error {
		start(slices.Concat(r.fleet.relays, r.fleet.workers))
		return nil
	}}}
	if r.o.Leaving {
		steps = append(steps, step{max(r.o.Backlog, r.o.Events*3/4), "the workers leave", func(ctx context.Context) error {
			return stop(ctx, r.fleet.workers)
		}})
	}
	return steps
}

// committed returns how many events the ledger has; 0 if it cannot be asked.
func (r *run) committed(ctx context.Context) (n int) {
	err := patiently(ctx, func(ctx context.Context) error {
		return r.admin.QueryRow(ctx, "SELECT count(*) FROM chaos.ledger").Scan(&n)
	})
	if err != nil {
		return 0
	}
	return n
}

// An odd row may wait for a time that does not come.
const drainedSQL = `
SELECT NOT EXISTS (SELECT FROM outbox WHERE id NOT IN (SELECT event_id FROM chaos.odd))
    AND NOT EXISTS (SELECT FROM outbox_held WHERE id NOT IN (SELECT event_id FROM chaos.odd))`

// drained reports whether no event but odd rows waits in PostgreSQL. It looks into both tables
// at the same moment: an event moves from one to the other.
func (r *run) drained(ctx context.Context) (empty bool, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		return r.admin.QueryRow(ctx, drainedSQL).Scan(&empty)
	})
	if err != nil {
		return false, fmt.Errorf("look at what waits: %w", err)
	}
	return empty, nil
}
