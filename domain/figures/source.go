package figures

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

// Source reads the figures of types and queues from both servers. It is safe for
// concurrent use.
type Source struct {
	Store  Store
	Queues overview.QueueOverviews
	// Failing groups the failing tasks.
	Failing interface {
		Summary(ctx context.Context) (queued.FailingSummary, error)
	}
	// Foreign returns the queues that only other programs use; nil: none.
	Foreign func() []string
	// Unserved returns the queues that, according to a finding, have waiting tasks and no worker; nil: none.
	Unserved func() []string
	// Handled has the event types for which outboxd's own worker has a handler. That worker also delivers to
	// subscriptions. The workers of other programs handle all other types, and may handle these types in other
	// queues.
	Handled map[string]string
	// OneOfSeveral says that other databases have events in the same queues. A queue may be resumed through another
	// database, so a pause that is on record, but not in Redis, need not be lost.
	OneOfSeveral bool
	// StoreErr and QueuesErr say why a server cannot be asked; nil: it can.
	StoreErr, QueuesErr error
}

// patience is how long a Source waits for the answer of a server.
const patience = 3 * time.Second

// gathered has the answers of PostgreSQL and of Redis.
type gathered struct {
	stored    Snapshot
	queues    []overview.QueueStatus
	workers   []overview.WorkerStatus
	failing   queued.FailingSummary
	recorded  map[string]setup.Pause // the pauses on record
	paused    []string               // those of the recorded queues that are paused and that Redis does not know
	storeErr  error
	queuesErr error
}

// gather asks both servers, also for the pauses on record if withPauses is true. gather
// reads the pauses before it asks Redis. In the other order, a queue that is paused
// between both answers would look like one whose pause was lost.
func (s *Source) gather(ctx context.Context, withPauses bool) gathered {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g := gathered{storeErr: s.StoreErr, queuesErr: s.QueuesErr}
	var recordErr error
	var asked sync.WaitGroup
	if g.storeErr == nil {
		asked.Go(func() { g.stored, g.storeErr = s.Store.Snapshot(ctx) })
	}
	if g.queuesErr == nil {
		asked.Go(func() {
			if withPauses && s.StoreErr == nil {
				g.recorded, recordErr = s.pauses(ctx)
			}
			g.queuesErr = s.ask(ctx, &g)
		})
	}
	asked.Wait()
	if g.storeErr != nil {
		g.stored = Snapshot{At: time.Now()}
	}
	g.storeErr = cmp.Or(g.storeErr, recordErr)
	return g
}

func (s *Source) ask(ctx context.Context, g *gathered) (err error) {
	if g.queues, err = s.Queues.Queues(ctx); err != nil {
		return err
	}
	if g.workers, err = s.Queues.Workers(ctx); err != nil {
		return err
	}
	if unknown := g.unknown(); len(unknown) > 0 {
		if g.paused, err = s.Queues.Paused(ctx, unknown); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(g.queues, func(q overview.QueueStatus) bool { return q.Retry > 0 }) {
		g.failing, err = s.Failing.Summary(ctx)
	}
	return err
}

// unknown returns the queues with a pause on record that are not among Redis's queues.
func (g *gathered) unknown() (queues []string) {
	for name := range g.recorded {
		if !slices.ContainsFunc(g.queues, func(q overview.QueueStatus) bool { return q.Name == name }) {
			queues = append(queues, name)
		}
	}
	return queues
}

// Types returns the figures of each event type.
func (s *Source) Types(ctx context.Context) View[Type] {
	g := s.gather(ctx, false)
	lines := lines[Type]{}
	for i := range g.stored.Pairs {
		p := &g.stored.Pairs[i]
		t := lines.of(p.Type)
		t.Queues = add(t.Queues, p.Queue)
		t.Unseen = t.Unseen || !s.sees(&g, p.Type, p.Queue)
		t.add(p)
	}
	for name, n := range g.stored.Emitted {
		lines.of(name).Emitted = n
	}
	for _, f := range g.failing.Groups {
		if has(s.Foreign, f.Queue) {
			continue
		}
		t := lines.of(f.Type)
		t.Queues, t.Failing = add(t.Queues, f.Queue), t.Failing+f.Tasks
		t.Unseen = t.Unseen || !s.sees(&g, f.Type, f.Queue)
	}
	for name, t := range lines {
		t.Name = name
		t.settle(&g.stored)
	}
	return viewOf(&g, lines, func(a, b Type) int {
		return cmp.Or(cmp.Compare(b.Waits()+b.Dead, a.Waits()+a.Dead), cmp.Compare(b.Hour.Confirmed, a.Hour.Confirmed), cmp.Compare(a.Name, b.Name))
	})
}

// All returns what is known of each queue.
func (s *Source) All(ctx context.Context) View[Queue] {
	g := s.gather(ctx, true)
	lines := lines[Queue]{}
	for i := range g.stored.Pairs {
		p := &g.stored.Pairs[i]
		q := lines.of(p.Queue)
		q.Types = add(q.Types, p.Type)
		q.Unseen = q.Unseen || !s.sees(&g, p.Type, p.Queue)
		q.add(p)
	}
	for _, tasks := range g.queues {
		q := lines.of(tasks.Name)
		q.Tasks, q.Foreign, q.Unserved = tasks, has(s.Foreign, tasks.Name), has(s.Unserved, tasks.Name)
		if !tasks.PausedAt.IsZero() {
			q.Paused = &setup.Pause{Since: tasks.PausedAt}
		}
	}
	for _, f := range g.failing.Groups {
		q := lines.of(f.Queue)
		q.Unseen = q.Unseen || !s.sees(&g, f.Type, f.Queue)
		if !has(s.Foreign, f.Queue) {
			q.Types = add(q.Types, f.Type)
		}
	}
	for _, w := range g.workers {
		for name := range w.Queues {
			lines.of(name).Workers++
		}
	}
	if g.storeErr == nil && g.queuesErr == nil {
		for name, pause := range g.recorded {
			if q, known := lines[name]; known && q.Paused != nil {
				q.Paused.By, q.Paused.Reason = pause.By, pause.Reason
			} else if slices.Contains(g.paused, name) {
				lines.of(name).Paused = &pause
			} else if !s.OneOfSeveral {
				lines.of(name).LostPause = &pause
			}
		}
	}
	for name, q := range lines {
		q.Name = name
		q.Unserved = q.Unserved && q.Workers == 0 // the finding may be older than a worker
		q.settle(&g.stored)
	}
	return viewOf(&g, lines, func(a, b Queue) int {
		return cmp.Or(cmp.Compare(b.Waits(), a.Waits()), cmp.Compare(b.Hour.Confirmed, a.Hour.Confirmed), cmp.Compare(a.Name, b.Name))
	})
}

// pauses returns the pauses on record. It leaves time to ask Redis.
func (s *Source) pauses(ctx context.Context) (map[string]setup.Pause, error) {
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	return s.Store.Pauses(ctx)
}

// has reports whether the list has the queue. A list that is nil has none.
func has(list func() []string, queue string) bool {
	return list != nil && slices.Contains(list(), queue)
}

// sees reports whether only outboxd's own workers try the events of a type in a queue, and so record failed attempts. It
// goes by the workers that serve the queue now.
func (s *Source) sees(g *gathered, eventType, queue string) bool {
	if _, delivery := setup.SubscriptionOfQueue(queue); delivery {
		return true
	}
	_, handled := s.Handled[eventType]
	return handled && g.servedByOutboxd(queue)
}

// servedByOutboxd reports whether workers serve the queue, and each is outboxd's.
func (g *gathered) servedByOutboxd(queue string) (served bool) {
	for _, w := range g.workers {
		if _, serves := w.Queues[queue]; serves {
			if !w.Own {
				return false
			}
			served = true
		}
	}
	return served
}

// viewOf returns the lines in the order that the function compare gives.
func viewOf[L Line](g *gathered, lines lines[L], compare func(a, b L) int) View[L] {
	v := View[L]{Seen: Seen{At: g.stored.At, Measurement: g.stored.Measurement, StoreErr: g.storeErr, QueuesErr: g.queuesErr, Cut: g.stored.Cut, Estimated: g.failing.Estimated}}
	for _, line := range lines {
		v.Lines = append(v.Lines, *line)
	}
	slices.SortFunc(v.Lines, compare)
	return v
}

// lines has the line of each name.
type lines[L any] map[string]*L

func (l lines[L]) of(name string) *L {
	line, known := l[name]
	if !known {
		line = new(L)
		l[name] = line
	}
	return line
}

func add(names []string, name string) []string {
	if at, known := slices.BinarySearch(names, name); !known {
		return slices.Insert(names, at, name)
	}
	return names
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// rates returns the confirmed events a second.
func (s *Snapshot) rates(recent, hour *Passed) Rates {
	rate := func(n int64, measured time.Duration) float64 {
		if measured <= 0 {
			return -1
		}
		return float64(n) / measured.Seconds()
	}
	return Rates{rate(recent.Confirmed, s.RecentMeasured), rate(hour.Confirmed, s.HourMeasured)}
}

// add adds what happened in another queue, or to another type. P50 becomes the mean of
// both medians, weighted by the numbers of confirmed events.
func (p *Passed) add(q *Passed) {
	if q.Confirmed > 0 && q.P50 >= 0 {
		whole := p.Confirmed + q.Confirmed
		p.P50 = time.Duration((float64(p.P50)*float64(p.Confirmed) + float64(q.P50)*float64(q.Confirmed)) / float64(whole))
		p.P99 = max(p.P99, q.P99)
	}
	p.Confirmed, p.Failed, p.Died = p.Confirmed+q.Confirmed, p.Failed+q.Failed, p.Died+q.Died
}

// settle marks the delays as unknown if nothing was confirmed.
func (p *Passed) settle() {
	if p.Confirmed == 0 {
		p.P50, p.P99 = -1, -1
	}
}
