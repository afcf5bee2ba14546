package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"outboxd/relay"
)

// drainFlags are common to the benchmarks that drain a backlog.
type drainFlags struct {
	events, payload, rounds int
	concurrency, batch      int
}

func (d *drainFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&d.payload, "payload", 100, "bytes of payload in each event")
	flags.IntVar(&d.rounds, "rounds", 3, "how often each arm runs; the report has the medians")
	flags.IntVar(&d.concurrency, "concurrency", 0, "pollers, instead of --relay-concurrency, for a try-out")
	flags.IntVar(&d.batch, "batch", 0, "events per claim, instead of --relay-batch-size, for a try-out")
}

func (d *drainFlags) addEvents(flags *pflag.FlagSet, events int) {
	flags.IntVar(&d.events, "events", events, "size of the backlog")
}

// apply puts the try-out's settings into force.
func (d *drainFlags) apply(e *Env) error {
	if d.rounds < 1 || d.payload < 2 || d.concurrency < 0 || d.batch < 0 {
		return fmt.Errorf("--rounds has to be at least 1, --payload 2, and --concurrency and --batch positive")
	}
	if d.concurrency > conns-8 {
		return fmt.Errorf("--concurrency is at most %d here", conns-8)
	}
	if d.concurrency > 0 {
		e.Config.Relay.Concurrency = d.concurrency
	}
	if d.batch > 0 {
		e.Config.Relay.BatchSize = d.batch
	}
	return nil
}

// Drain compares outboxd with the textbook's loop and with the floor.
func Drain() Bench {
	return Bench{
		Name:  "drain",
		Short: "How fast a backlog is drained, against the textbook's loop and the floor",
		Long: `Drains a backlog with three arms:

  textbook  ten rows at a time, enqueued one by one, marked as processed, without a sleep; on a sample
  outboxd   as configured
  floor     a bare loop that does the same work without any care: one statement out of the outbox and
            into the history, one pipeline of scripts, one commit; 2 goroutines, batches of 1,000

The ratios "textbook" and "floor" are outboxd's rate divided by theirs.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			d := &drain{}
			d.add(flags)
			d.addEvents(flags, 200_000)
			flags.IntVar(&d.sample, "sample", 10_000, "size of the textbook loop's backlog")
			return d.run
		},
	}
}

type drain struct {
	drainFlags
	sample int
}

func (d *drain) run(ctx context.Context, e *Env) (*Report, error) {
	if err := d.apply(e); err != nil {
		return nil, err
	}
	sampled := min(d.sample, d.events)
	if sampled < 1 {
		return nil, fmt.Errorf("--events and --sample have to be at least 1")
	}
	report, err := e.NewReport(ctx, "drain")
	if err != nil {
		return nil, err
	}
	report.Environment["events"], report.Environment["payload_bytes"] = fmt.Sprint(d.events), fmt.Sprint(d.payload)
	slow := &contender{name: "textbook", run: func(ctx context.Context) (measurement, error) { return e.drainTextbook(ctx, sampled, d.payload) }}
	own := &contender{name: "outboxd", run: func(ctx context.Context) (measurement, error) {
		if err := e.Load(ctx, d.events, d.payload); err != nil {
			return measurement{}, err
		}
		return e.drainRelay(ctx, d.events)
	}}
	floor := &contender{name: "floor", run: func(ctx context.Context) (measurement, error) {
		if err := e.Load(ctx, d.events, d.payload); err != nil {
			return measurement{}, err
		}
		return e.drainBare(ctx, d.events, true)
	}}
	if err := e.interleave(ctx, d.rounds, slow, own, floor); err != nil {
		return nil, err
	}
	report.Arms = []Arm{slow.arm(), own.arm(), floor.arm()}
	report.Ratios["textbook"] = ratio(own.rate(), slow.rate())
	report.Ratios["floor"] = ratio(own.rate(), floor.rate())
	return report, nil
}

// drainRelay drains what is loaded with outboxd's relay.
func (e *Env) drainRelay(ctx context.Context, events int) (measurement, error) {
	return e.drainChanged(ctx, events, nil)
}

// drainChanged is drainRelay with a relay as change makes it.
func (e *Env) drainChanged(ctx context.Context, events int, change func(*relay.Options)) (measurement, error) {
	e.Progress.Start("outboxd", int64(events))
	defer e.Progress.Done()
	r := e.NewRelay(change)
	record := newRecorder(events)
	stop := e.RunRelay(ctx, r)
	err := e.WaitDelivered(ctx, int64(events), record.reached)
	if err == nil {
		err = e.WaitDrained(ctx)
	}
	took := record.elapsed()
	if stopped := stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return measurement{}, err
	}
	return measurement{rate: perSecond(events, took), curve: record.curve()}, e.checkMoved(ctx, events)
}

// drainBare drains what is loaded with the bare loop.
func (e *Env) drainBare(ctx context.Context, events int, withCursor bool) (measurement, error) {
	e.Progress.Start("bare loop", int64(events))
	defer e.Progress.Done()
	batch := bareBatch
	if !withCursor {
		batch = blindBatch
	}
	record := newRecorder(events)
	loop := &bareLoop{e: e, workers: bareWorkers, batch: batch, withCursor: withCursor, moved: func(n int) {
		record.more(n)
		e.Progress.Add(int64(n))
	}}
	if err := loop.run(ctx); err != nil {
		return measurement{}, err
	}
	return measurement{rate: perSecond(events, record.elapsed()), curve: record.curve()}, e.checkMoved(ctx, events)
}

func (e *Env) drainTextbook(ctx context.Context, events, payload int) (measurement, error) {
	loop := &textbook{e: e, moved: func(n int) { e.Progress.Add(int64(n)) }}
	if err := loop.load(ctx, events, payload); err != nil {
		return measurement{}, err
	}
	e.Progress.Start("textbook", int64(events))
	defer e.Progress.Done()
	begun := time.Now()
	if err := loop.run(ctx); err != nil {
		return measurement{}, err
	}
	took := time.Since(begun)
	delivered, err := e.Delivered(ctx)
	if err == nil && delivered != int64(events) {
		err = fmt.Errorf("%d of %d events reached Redis", delivered, events)
	}
	return measurement{rate: perSecond(events, took)}, err
}

func perSecond(events int, took time.Duration) float64 { return ratio(float64(events), took.Seconds()) }

// checkMoved fails if a measured arm did not do its work: every event in Redis
// once, in the history if there is one, and none left.
func (e *Env) checkMoved(ctx context.Context, events int) error {
	delivered, err := e.Delivered(ctx)
	if err != nil {
		return err
	}
	var left, kept int64
	err = e.Admin.QueryRow(ctx, "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM outbox_sent)").Scan(&left, &kept)
	if err != nil {
		return fmt.Errorf("count the events: %w", err)
	}
	if e.Config.Relay.History == 0 {
		kept = int64(events)
	}
	if delivered != int64(events) || left != 0 || kept != int64(events) {
		return fmt.Errorf("of %d events %d are in Redis, %d in the history and %d left: the figure would mean nothing", events, delivered, kept, left)
	}
	return nil
}
