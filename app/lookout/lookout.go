// Package lookout reads the facts that are cheap to read, and joins all findings,
// for every part of a process that shows them. Package diagnosis turns facts into
// findings; packages below repository and jobs read the facts from PostgreSQL and
// Redis.
package lookout

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

// patience bounds one reading of the facts. A server that has not answered within
// this time counts as not reachable. A Redis that answered the probe counts as slow.
const patience = 2 * time.Second

// Sources has what a Lookout reads the facts from.
type Sources struct {
	Events overview.Overviews
	Queues overview.QueueOverviews
	// Failing groups the failing tasks; nil: they are not grouped.
	Failing interface {
		Summary(ctx context.Context) (queued.FailingSummary, error)
	}
	// Archived and Settled tell which archived tasks need no attention; nil: all count.
	Archived Archived
	Settled  Settled
	// Retention is how long the database keeps what Settled reads.
	Retention time.Duration
	// Probe tells whether Redis answers at all; nil: nobody asks.
	Probe Probe
	// Identity and Memory tell whether Redis has lost data; nil: nobody looks.
	Identity Identity
	Memory   Memory
	// Recorded returns the recorded pauses: one for each queue that a person paused and nobody has resumed. If Recorded
	// is nil, no pause counts as lost.
	Recorded func(ctx context.Context) (map[string]setup.Pause, error)
	// PostgresErr and RedisErr say why a server cannot be queried; nil: it can.
	PostgresErr, RedisErr error
	// Foreign is the function that returns the queues that only other programs
	// use. If Foreign is nil, there are none.
	Foreign func() []string
	// Process returns the facts about this process. If Process is nil, there are
	// none.
	Process func() diagnosis.Process
	// Thorough returns the findings of the last thorough examinations. If Thorough
	// is nil, there are none.
	Thorough func() []domain.Finding
}

// Lookout looks at the servers. Its methods are safe for concurrent use.
type Lookout struct {
	s     Sources
	group singleflight.Group
	// Each flag is true while redis, probe, countSettled, loss or lostPauses, in this order, waits for an answer. The wait may
	// last longer than the context of the call. While a flag is true, the same question is not asked again.
	asking, probing, counting, comparing, recalling atomic.Bool

	mu      sync.Mutex
	last    *diagnosis.Quick
	settled settled
}

// New returns a Lookout. The Lookout queries nothing until Look or Quick is called.
func New(s Sources) *Lookout { return &Lookout{s: s} }

// Look returns everything known about the system. The quick facts are at most maxAge
// old. Calls at the same time share one reading of the facts, which takes about two
// seconds at most. A call that joins a reading gets its facts, whatever maxAge it asked
// for.
func (l *Lookout) Look(maxAge time.Duration) diagnosis.Sight {
	// Several callers share this reading, so no caller's context may end it.
	shared, _, _ := l.group.Do("", func() (any, error) {
		l.mu.Lock()
		last := l.last
		l.mu.Unlock()
		if last == nil || time.Since(last.At) >= maxAge {
			quick := l.Quick(context.Background())
			last = &quick
			l.mu.Lock()
			l.last = last
			l.mu.Unlock()
		}
		return last, nil
	})
	quick := *shared.(*diagnosis.Quick)
	var thorough []domain.Finding
	if l.s.Thorough != nil {
		thorough = l.s.Thorough()
	}
	return diagnosis.Sight{Quick: quick, Findings: quick.Merge(thorough)}
}

// Quick reads the quick facts from both servers at the same time.
func (l *Lookout) Quick(ctx context.Context) diagnosis.Quick {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q := diagnosis.Quick{At: time.Now(), PostgresErr: l.s.PostgresErr, RedisErr: l.s.RedisErr}
	if l.s.Process != nil {
		q.Process = l.s.Process()
	}
	if l.s.Foreign != nil {
		q.Foreign = l.s.Foreign()
	}
	var asked sync.WaitGroup
	if q.PostgresErr == nil {
		asked.Go(func() { q.Standing, q.PostgresErr = l.s.Events.Standing(ctx) })
	}
	if q.RedisErr == nil {
		asked.Go(func() {
			a := l.redis(ctx)
			q.Queues, q.Workers, q.Failing, q.RedisErr = a.queues, a.workers, a.failing, a.err
			if a.err == nil && l.s.PostgresErr == nil {
				l.compare(ctx, &q)
			}
		})
	}
	asked.Wait()
	return q
}

type redisAnswer struct {
	queues  []overview.QueueStatus
	workers []overview.WorkerStatus
	failing queued.FailingSummary
	err     error
}

// redis reads the facts that Redis alone knows. At the same time it probes Redis: a Redis that answers the probe, but is
// too slow to count the tasks, counts as slow and not as unreachable.
func (l *Lookout) redis(ctx context.Context) redisAnswer {
	probed := make(chan bool, 1)
	go func() { probed <- l.probe(ctx) }()
	a, err := ask(ctx, &l.asking, func() (a redisAnswer) {
		if a.queues, a.err = l.s.Queues.Queues(ctx); a.err == nil {
			a.workers, a.err = l.s.Queues.Workers(ctx)
		}
		fails := func(q overview.QueueStatus) bool { return q.Retry > 0 }
		if a.err == nil && l.s.Failing != nil && slices.ContainsFunc(a.queues, fails) {
			a.failing, a.err = l.s.Failing.Summary(ctx)
		}
		return a
	})
	late := err != nil || errors.Is(a.err, context.DeadlineExceeded)
	switch {
	case late && <-probed:
		a.err = diagnosis.SlowRedis()
	case errors.Is(err, errStillAsking):
		a.err = domain.Errorf(domain.CodeUnavailable, "Redis has not answered yet")
	case err != nil:
		a.err = domain.Wrap(domain.CodeUnavailable, err, "Redis does not answer")
	}
	return a
}

// probe reports whether Redis answers a probe before ctx ends.
func (l *Lookout) probe(ctx context.Context) bool {
	if l.s.Probe == nil {
		return false
	}
	fault, err := ask(ctx, &l.probing, func() error { return l.s.Probe.Ping(ctx) })
	return err == nil && fault == nil
}

// compare reads the facts for which both servers must answer. If a server does not answer before ctx ends, the last
// counts of settled tasks hold, and no loss is known, not even of a pause. compare blames no server, because it does not know which one was silent.
func (l *Lookout) compare(ctx context.Context, q *diagnosis.Quick) {
	var asked sync.WaitGroup
	asked.Go(func() {
		var err error
		if q.Settled, err = ask(ctx, &l.counting, func() map[string]int64 { return l.countSettled(ctx, q.Queues) }); err != nil {
			q.Settled = l.lastSettled().counts
		}
	})
	asked.Go(func() {
		q.LostPauses, _ = ask(ctx, &l.recalling, func() []diagnosis.LostPause { return l.lostPauses(ctx) })
	})
	asked.Go(func() { q.Loss, _ = ask(ctx, &l.comparing, func() string { return l.loss(ctx) }) })
	asked.Wait()
}

var errStillAsking = errors.New("an earlier question is not answered yet")

// ask calls the function question and returns its result, or an error when ctx ends first. The function may go on after
// that. While an earlier one with the same flag busy goes on, ask returns errStillAsking at once.
func ask[T any](ctx context.Context, busy *atomic.Bool, question func() T) (answer T, err error) {
	if !busy.CompareAndSwap(false, true) {
		return answer, errStillAsking
	}
	answered := make(chan T, 1)
	go func() {
		answer := question()
		busy.Store(false) // first, because whoever has the answer may ask again at once
		answered <- answer
	}()
	select {
	case answer = <-answered:
		return answer, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}
