package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Commands make the processes of a run.
type Commands struct {
	// Outboxd returns the real outboxd with these arguments.
	Outboxd func(args ...string) *exec.Cmd
	// Own returns a process that calls Main. Its caller adds dutyVariable to the
	// environment.
	Own func() *exec.Cmd
}

// fleet is every process of a run.
type fleet struct {
	relays, workers, producers []*slot
}

// stopLimit bounds how long a process may take to end when it is asked to.
const stopLimit = 40 * time.Second

func newFleet(o Options) *fleet {
	f := &fleet{}
	for i := range o.Relays {
		name := fmt.Sprintf("relay %d", i+1)
		f.relays = append(f.relays, newSlot(name, func() (*exec.Cmd, error) {
			cmd := o.Commands.Outboxd("--roles=relay", "--monitor-addr=", "--migrate=off", "--log-level=info", "--log-format=json",
				fmt.Sprintf("--relay-concurrency=%d", o.Pollers), "--relay-poll-interval=1s", "--redis-check-interval=500ms", "--shutdown-timeout=30s")
			cmd.Dir = o.Folder
			cmd.Env = append(cmd.Env, "OUTBOXD_DATABASE_URL="+o.Servers.Database+"&application_name="+relayApplication(name), "OUTBOXD_REDIS_URL="+o.Servers.Redis)
			return cmd, nil
		}))
	}
	for i := range o.Workers {
		name := fmt.Sprintf("worker %d", i+1)
		f.workers = append(f.workers, newSlot(name, func() (*exec.Cmd, error) {
			return own(o, duty{Worker: &workerDuty{Name: name, Database: o.Servers.Database, Redis: o.Servers.Redis, Failing: o.Failing}})
		}))
	}
	if o.Wide {
		f.workers = append(f.workers, newDeliverers(o)...)
		f.workers = append(f.workers, newSlot("consumer 1", func() (*exec.Cmd, error) {
			return own(o, duty{Consumer: &consumerDuty{Database: elsewhereURL(o.Servers.Database), Redis: o.Servers.Redis, Failing: o.Failing}})
		}))
	}
	for i := range o.Producers {
		f.producers = append(f.producers, newProducer(o, i))
	}
	return f
}

func newProducer(o Options, i int) *slot {
	way := ways[i%len(ways)]
	d := producerDuty{
		Name: fmt.Sprintf("producer %d", i+1), Database: o.Servers.Database, Journal: journalPath(o.Folder, i),
		Way: way.name, Largest: min(o.Largest, way.largest), Rate: o.Rate / float64(o.Producers), Events: share(o, i), Keyed: o.Keyed, Ordered: o.Ordered, Wide: o.Wide,
	}
	incarnation := uint64(0)
	return newSlot(d.Name, func() (*exec.Cmd, error) {
		d := d
		// Each process gets another seed, so that it does not repeat what the one before it did.
		d.Seed = o.Seed<<32 | uint64(i)<<24 | incarnation
		incarnation++
		return own(o, duty{Producer: &d})
	})
}

// share is how many of a given number of events a producer writes. Producers
// that write faster get more events.
func share(o Options, producer int) int {
	begin, end, total := 0, 0, 0
	for i := range o.Producers {
		weight := ways[i%len(ways)].share
		total += weight
		if i < producer {
			begin += weight
		}
		if i <= producer {
			end += weight
		}
	}
	return o.Events*end/total - o.Events*begin/total
}

func (f *fleet) all() []*slot {
	return slices.Concat(f.relays, f.workers, f.producers)
}

// wanted returns those of the slots that have a process or get a new one soon.
func wanted(of []*slot) (slots []*slot) {
	for _, s := range of {
		s.mu.Lock()
		wanted := s.wanted
		s.mu.Unlock()
		if wanted && !s.finished() {
			slots = append(slots, s)
		}
	}
	return slots
}

// health returns an error if a process cannot be kept running.
func (f *fleet) health() error {
	for _, s := range f.all() {
		if err := s.health(); err != nil {
			return err
		}
	}
	return nil
}

func start(slots []*slot) {
	for _, s := range slots {
		s.start()
	}
}

// stop asks the processes of all these slots to end, at the same time. It kills those
// that still run after stopLimit, and returns an error for each of them.
func stop(ctx context.Context, slots []*slot) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	errs := make([]error, len(slots))
	var all errgroup.Group
	for i, s := range slots {
		all.Go(func() error { errs[i] = s.stop(ctx); return nil })
	}
	_ = all.Wait()
	return errors.Join(errs...)
}

func finished(slots []*slot) bool {
	for _, s := range slots {
		if !s.finished() {
			return false
		}
	}
	return true
}
