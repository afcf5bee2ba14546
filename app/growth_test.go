package app_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/bench/env"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/work"
	"outboxd/migrations"
	"outboxd/repository/confirm"
)

var (
	growthSeconds = flag.Int("growth", 0, "for how many seconds TestGrowth measures each step with four servers of PostgreSQL; 0: a few events in two databases")
	growthRates   = flag.String("growth-rates", "100,200,400", "events per second that are written into each database, one series of steps for each rate")
	growthPlot    = flag.String("growth-plot", "", "file for TestGrowth's plot, as SVG")
)

const (
	growthType    = "test:growth"
	growthFeeders = 4 // producers of one database, so that a slow transaction does not delay the others
	// The names of processes in the table: all others have the name of their program.
	growthSelf, growthRelay = "producers and workers", "relay"
	// growthFull is the part of the machine's processors from which on a step counts as full.
	growthFull = 0.9
	// growthTolerance is how far a step may be from linear growth, and how much more an event may cost in it than in
	// the first step.
	growthTolerance = 0.15
	// growthOthers is the part of the processors that programs outside of the test may use during a step. A step
	// with more, in which events were late, is measured again, growthAttempts times at most.
	growthOthers, growthAttempts = 0.05, 3
)

// growthSource is one database with the queue, the producers and the worker of its service.
type growthSource struct {
	name, url, queue string
	pool             *pgxpool.Pool
	emitted          atomic.Int64
}

// growth is the system under test: several databases, one Redis Cluster of three masters, one relay process.
type growth struct {
	t       *testing.T
	sources []*growthSource
}

// TestGrowth feeds first one, then two and more databases, each at the same rate. One relay process serves all
// of them and one Redis Cluster of three masters has their queues. The sum of what is confirmed grows with the
// number of databases, and what an event costs does not, until the machine has no processor time left. Without
// -growth the test tries only that events pass and that the plot has its lines.
func TestGrowth(t *testing.T) {
	t.Parallel()
	g := &growth{t: t}
	databases, rates := 2, []float64{500}
	if *growthSeconds > 0 {
		databases, rates = 4, parseRates(t, *growthRates)
	}
	g.begin(databases)
	var steps []growthStep
	for _, rate := range rates {
		first := len(steps)
		for n := 1; n <= databases; n++ {
			step := g.quietly(n, rate)
			if n > 1 {
				step.compare(steps[first])
			} else {
				step.compare(step)
			}
			steps = append(steps, step)
		}
	}
	t.Log("\n" + growthTable(steps))
	plotGrowth(t, steps)
	if *growthSeconds > 0 {
		judgeGrowth(t, steps)
	}
}

func parseRates(t *testing.T, text string) (rates []float64) {
	t.Helper()
	for field := range strings.SplitSeq(text, ",") {
		rate, err := strconv.ParseFloat(field, 64)
		if err != nil || rate <= 0 {
			t.Fatalf("-growth-rates: %q is not a rate", field)
		}
		rates = append(rates, rate)
	}
	return rates
}

// begin starts the servers, the relay and a worker for each database.
func (g *growth) begin(databases int) {
	g.t.Helper()
	cluster := redistest.StartCluster(g.t, false)
	args := []string{"--roles=relay", "--redis-url=" + cluster.URL()}
	for n := range databases {
		s := &growthSource{name: fmt.Sprintf("service-%d", n+1)}
		if *growthSeconds > 0 {
			s.url = postgrestest.Start(g.t).URL()
		} else {
			s.url = schematest.Database(g.t)
		}
		// A queue is on one master. Spread the queues over the masters, as the guide advises.
		for i := 0; s.queue == ""; i++ {
			if name := fmt.Sprintf("%s-%d", s.name, i); cluster.OwnerOf(broker.PendingKey(name)) == cluster.Masters[n%len(cluster.Masters)] {
				s.queue = name
			}
		}
		args = append(args, "--databases="+s.name+"="+s.url)
		g.sources = append(g.sources, s)
	}
	options, err := broker.ParseURL(cluster.URL())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, s := range g.sources {
		db := schematest.Connect(g.t, s.url)
		if _, err := migrations.Core().Up(g.t.Context(), db.SQL(), servertest.Logger(g.t)); err != nil {
			g.t.Fatal(err)
		}
		if s.pool, err = env.Pool(g.t.Context(), s.url, growthFeeders+1); err != nil {
			g.t.Fatal(err)
		}
		g.t.Cleanup(s.pool.Close)
		redis, err := broker.New(options, 1)
		if err != nil {
			g.t.Fatal(err)
		}
		worker := work.New(work.Options{
			Redis: redis, Inbox: confirm.NewInbox(db), Concurrency: 10, Queues: map[string]int{s.queue: 1}, PollInterval: time.Second,
			Handlers: map[string]work.Handler{growthType: func(context.Context, domain.Effects, work.Task) error { return nil }},
			Drain:    patience, Logger: servertest.Logger(g.t), Registry: prometheus.NewRegistry(),
		})
		working, stop := context.WithCancel(context.WithoutCancel(g.t.Context()))
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(working) }()
		g.t.Cleanup(func() {
			stop()
			if err := errors.Join(<-ended, redis.Close()); err != nil {
				g.t.Error(err)
			}
		})
	}
	relay := start(g.t, args...)
	g.t.Cleanup(relay.stop)
}

// quietly measures a step again if other programs disturbed it. If they disturbed each
// attempt, it returns the least disturbed one.
func (g *growth) quietly(n int, rate float64) growthStep {
	g.t.Helper()
	least := growthStep{others: math.Inf(1)}
	for range growthAttempts {
		step := g.step(n, rate)
		if step.others < least.others {
			least = step
		}
		if inTime := step.confirmed >= 0.95*rate*float64(n); *growthSeconds == 0 || inTime || step.others <= growthOthers {
			return step
		}
		g.t.Logf("%d databases at %.0f events/s: other programs used %.0f %% of the machine; measure again", n, rate, 100*step.others)
	}
	return least
}

// step feeds n databases, and measures. It returns when all events that it wrote are confirmed.
func (g *growth) step(n int, rate float64) growthStep {
	g.t.Helper()
	fed := g.sources[:n]
	feeding, stop := context.WithCancel(g.t.Context())
	defer stop()
	var feeders sync.WaitGroup
	failed := make(chan error, n*growthFeeders)
	for _, s := range fed {
		for range growthFeeders {
			feeders.Go(func() { failed <- s.feed(feeding, rate/growthFeeders) })
		}
	}
	const few = 30
	begun := g.confirmed(fed)
	eventually(g.t, "the first events are confirmed", func() bool { return g.confirmed(fed) >= begun+int64(few*n) })
	if *growthSeconds > 0 {
		g.pass(2 * time.Second) // the first events also opened connections and planned statements
	}
	emitted, before, cpu, since := emittedBy(fed), g.confirmed(fed), readCPU(), time.Now()
	if *growthSeconds > 0 {
		g.pass(time.Duration(*growthSeconds) * time.Second)
	} else {
		eventually(g.t, "more events are confirmed", func() bool { return g.confirmed(fed) >= before+int64(few*n) })
	}
	step := growthStep{rate: rate, databases: n, cpu: readCPU().since(cpu), took: time.Since(since)}
	step.confirmedInAll = g.confirmed(fed) - before
	step.emitted = float64(emittedBy(fed)-emitted) / step.took.Seconds()
	step.confirmed = float64(step.confirmedInAll) / step.took.Seconds()
	step.finish()
	stop()
	feeders.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			g.t.Error(err)
		}
	}
	within(g.t, 10*patience, "everything is confirmed", func() bool { return g.confirmed(fed) == emittedBy(fed) })
	return step
}

// pass waits for the given time, in which the system works and is measured.
func (g *growth) pass(d time.Duration) {
	g.t.Helper()
	select {
	case <-time.After(d):
	case <-g.t.Context().Done():
		g.t.Fatal(g.t.Context().Err())
	}
}

// feed commits events at a rate, each in its own transaction, until ctx ends. After a delay it catches up.
func (s *growthSource) feed(ctx context.Context, rate float64) error {
	between := time.Duration(float64(time.Second) / rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; due = due.Add(between) {
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		// A transaction that has begun is counted.
		if _, err := s.pool.Exec(context.WithoutCancel(ctx), "SELECT outboxd.emit($1, $2, queue => $3)", growthType, `{"order": 4711, "customer": "customer-17", "total": 99.5}`, s.queue); err != nil {
			return fmt.Errorf("emit into %s: %w", s.name, err)
		}
		s.emitted.Add(1)
	}
}

func emittedBy(sources []*growthSource) (n int64) {
	for _, s := range sources {
		n += s.emitted.Load()
	}
	return n
}

// confirmed returns how many events of these databases have taken effect.
func (g *growth) confirmed(sources []*growthSource) (n int64) {
	g.t.Helper()
	for _, s := range sources {
		var one int64
		if err := s.pool.QueryRow(g.t.Context(), "SELECT count(*) FROM outboxd.inbox").Scan(&one); err != nil {
			g.t.Fatal(err)
		}
		n += one
	}
	return n
}
