package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
	"outboxd/migrations"
	"outboxd/relay"
	"outboxd/repository/heal"
	"outboxd/repository/subscriptions"
)

// restAfterGivingUp is how long a part of one of several sources rests after supervise
// gave it up. A process with a single source ends in that case.
const restAfterGivingUp = time.Minute

// run serves one of several sources until ctx ends. run opens the source's database as
// soon as that database can be used. No failure of the database ends run, so the other
// sources go on. run returns the error of a part that could not finish its work after ctx
// had ended.
func (s *source) run(ctx context.Context) error {
	if !s.awaitOpen(ctx) {
		return nil
	}
	var running errgroup.Group
	if s.relay != nil {
		for _, actor := range s.relay.Actors() {
			running.Go(func() error { return s.endure(ctx, actor) })
		}
	}
	if s.watch != nil {
		running.Go(func() error { return s.endure(ctx, relay.Actor{Name: examination, Run: s.watch.run}) })
	}
	<-ctx.Done()
	if err := running.Wait(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// awaitOpen opens the source, and tries again until it succeeds. It returns false if ctx
// ended before that.
func (s *source) awaitOpen(ctx context.Context) bool {
	opened := retry(ctx, s.open, func(err error, again time.Duration) {
		s.failed(opening, err, "this database is not served; the others are", again)
	})
	if opened {
		s.log.Info("this database is served")
	}
	return opened
}

// The time from the beginning of one attempt to open a source to the beginning of the next
// grows from openFirst to about openLast. The pause after the end of an attempt is at least
// openFirst.
const (
	openFirst = 500 * time.Millisecond
	openLast  = 10 * time.Second
)

// retry calls the function open until open succeeds. retry returns false if ctx ended
// before that.
func retry(ctx context.Context, open func(context.Context) error, failed func(err error, again time.Duration)) bool {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.Multiplier, pause.MaxInterval = openFirst, 2, openLast
	pause.RandomizationFactor = 0.1
	for {
		begun := time.Now()
		err := domain.Recovered("panic", func() error { return open(ctx) })
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		again := max(pause.NextBackOff()-time.Since(begun), openFirst)
		failed(err, again)
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// open connects to the database, checks that no other source has the same outbox, and
// makes the parts that serve it.
func (s *source) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.disconnect()
		}
	}()
	if err = s.connect(ctx); err != nil {
		return err
	}
	record, err := heal.NewQueueMemory(s.database).Recall(ctx)
	if err != nil {
		return err
	}
	other := s.d.claim(record.Name, s.name)
	s.twin.Store(other != s.name)
	if other != s.name {
		return domain.Errorf(domain.CodeInvalid, "it has the same outbox as %s, or a copy of it", other)
	}
	s.assemble()
	s.mended(opening)
	return nil
}

// disconnect closes the database after a failed attempt to open the source.
func (s *source) disconnect() {
	s.mu.Lock()
	db := s.database
	s.database = nil
	s.mu.Unlock()
	if db != nil {
		closeDatabase(db, s.log)
	}
}

// endure runs one part of the source until ctx ends. When supervise gives the part up, the
// part rests for a while and is started again. The fault of the part is forgotten when the
// part has run for healthyAfter. endure returns the error of a part that failed after ctx had ended.
func (s *source) endure(ctx context.Context, actor relay.Actor) error {
	run := func(ctx context.Context) error {
		healthy := time.AfterFunc(healthyAfter, func() { s.mended(actor.Name) })
		defer healthy.Stop()
		return actor.Run(ctx)
	}
	for {
		err := supervise(ctx, actor.Name, s.log, run)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.failed(actor.Name, err, actor.Name+" rests; the other databases go on", restAfterGivingUp)
		timer := time.NewTimer(restAfterGivingUp)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// The names in source.faults that are no actors of the relay: opening the database, and
// examining it.
const (
	opening     = ""
	examination = "the examination"
)

// failed stores that a part of the source does not work. failed logs at level debug if the
// part has a fault with the same text for outsiders already, and otherwise at level error.
func (s *source) failed(part string, err error, message string, again time.Duration) {
	s.mu.Lock()
	level := slog.LevelError
	if before := s.faults[part]; before != nil && outsidersText(before) == outsidersText(err) {
		level = slog.LevelDebug
	}
	if s.faults == nil {
		s.faults = map[string]error{}
	}
	s.faults[part] = err
	s.mu.Unlock()
	s.log.Log(context.Background(), level, message, "again_in", again.Round(time.Millisecond), "error", err)
}

// mended stores that a part of the source works.
func (s *source) mended(part string) {
	s.mu.Lock()
	delete(s.faults, part)
	s.mu.Unlock()
}

// whyNot returns why the source is not served, or nil if it is. A source whose examination
// rests still counts as served.
func (s *source) whyNot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faults[opening]; err != nil {
		return err
	}
	if !s.isOpen() {
		return errOpening
	}
	for _, part := range slices.Sorted(maps.Keys(s.faults)) {
		if part != examination {
			return domain.Wrap(domain.CodeUnavailable, s.faults[part], part+" rests after failures: "+outsidersText(s.faults[part]))
		}
	}
	return nil
}

// isTwin reports whether the source is refused as a second name of another source.
func (s *source) isTwin() bool { return s.twin.Load() }

// outsidersText returns what people without rights may read of an error, as in /readyz.
func outsidersText(err error) string {
	known, isKnown := errors.AsType[*domain.Error](err)
	switch {
	case errors.Is(err, migrations.ErrPending):
		return err.Error()
	case isKnown:
		return known.Message
	default:
		return "the log says why"
	}
}

// claim records which source has the outbox with the given name, and returns the source
// that was the first to have it.
func (d *Daemon) claim(outbox, source string) (owner string) {
	d.outboxesMu.Lock()
	defer d.outboxesMu.Unlock()
	if owner, known := d.outboxes[outbox]; known {
		return owner
	}
	if d.outboxes == nil {
		d.outboxes = map[string]string{}
	}
	d.outboxes[outbox] = source
	return source
}

// knownEvents returns the IDs that are, or may be, events of a source. While a
// source cannot be asked, every ID may be one of its events.
func (d *Daemon) knownEvents(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	if d.one != nil {
		return d.one.knownEvents(ctx, ids)
	}
	var known []domain.ID
	for _, a := range ask(ctx, d.distinct(), func(ctx context.Context, s *source) ([]domain.ID, error) {
		if !s.isOpen() {
			return ids, nil
		}
		return s.knownEvents(ctx, ids)
	}) {
		if a.err != nil {
			return ids, nil //nolint:nilerr // the examination of the source reports it
		}
		for _, id := range a.found {
			if !slices.Contains(known, id) {
				known = append(known, id)
			}
		}
	}
	return known, nil
}

// receivers returns, from all sources that answer, the receivers to which nothing is
// delivered now.
func (d *Daemon) receivers(ctx context.Context) ([]overview.ReceiverStatus, error) {
	if d.one != nil {
		return d.one.receivers(ctx)
	}
	var subscribed []diagnosis.Subscribed
	for _, a := range ask(ctx, d.distinct(), func(ctx context.Context, s *source) (of diagnosis.Subscribed, err error) {
		of.Source = s.name
		if !s.isOpen() {
			return of, nil
		}
		if of.Names, err = subscriptions.New(s.database).Names(ctx); err != nil {
			return of, err
		}
		of.Resting, err = s.receivers(ctx)
		return of, err
	}) {
		subscribed = append(subscribed, a.found) // the examination of the source reports an error
	}
	twice := diagnosis.SubscriptionsTwice(subscribed)
	d.twice.Store(&twice)
	return diagnosis.Resting(subscribed), nil
}

// distinct returns the sources without those that are refused as a second name of another
// source.
func (d *Daemon) distinct() []*source {
	return slices.DeleteFunc(slices.Clone(d.sources), (*source).isTwin)
}

// sourcePatience is how long one of several sources has for an answer that the examination
// of Redis needs. sourcePatience is shorter than the time for which package inspect waits for
// all sources, so one source that does not answer cannot use up that time.
const sourcePatience = 800 * time.Millisecond

type answer[T any] struct {
	found T
	err   error
}

// ask puts a question to all sources at the same time. Each source has sourcePatience.
func ask[T any](ctx context.Context, sources []*source, question func(context.Context, *source) (T, error)) []answer[T] {
	answers := make([]answer[T], len(sources))
	ctx, cancel := context.WithTimeout(ctx, sourcePatience)
	defer cancel()
	atOnce(sources, func(i int, s *source) { answers[i].found, answers[i].err = question(ctx, s) })
	return answers
}

// atOnce calls the function for every source at the same time, and returns when all
// calls have returned.
func atOnce(sources []*source, do func(i int, s *source)) {
	var calls sync.WaitGroup
	for i, s := range sources {
		calls.Go(func() { do(i, s) })
	}
	calls.Wait()
}

// closeSources closes the databases of all sources.
func (d *Daemon) closeSources() {
	atOnce(d.sources, func(_ int, s *source) { s.close() })
}

// queueUsable returns nil, or why a relay of this process cannot publish to Redis. Of
// several sources, queueUsable counts only those whose database works: a relay whose
// database is down publishes nothing, so it does not notice that Redis is back.
func (d *Daemon) queueUsable() error {
	for _, s := range d.sources {
		if !s.isOpen() || s.relay == nil || s.name != "" && !s.works() {
			continue
		}
		if err := s.relay.QueueUsable(); err != nil {
			return err
		}
	}
	return nil
}

// works reports whether the relay of an open source can work with its database.
func (s *source) works() bool {
	return s.whyNot() == nil && !s.silent.Load() && s.relay.DatabaseUsable() == nil
}

// findingsOfAll returns the findings of several sources, the worst first. A finding about a
// database begins with the name of its source.
func (d *Daemon) findingsOfAll(maxAge time.Duration) []domain.Finding {
	about, quick := make([]diagnosis.About, len(d.sources)), make([]*diagnosis.Quick, len(d.sources))
	atOnce(d.sources, func(i int, s *source) {
		about[i].Source = s.name
		about[i].Findings, quick[i] = s.look(maxAge)
	})
	shared := d.shared()
	for _, q := range quick {
		if q != nil {
			shared = q.Renew(shared)
		}
	}
	if twice := d.twice.Load(); twice != nil {
		shared = append(shared, *twice...)
	}
	return diagnosis.Join(about, shared)
}

// look returns the findings about one of several sources, and the facts of this moment; nil if they are not known.
func (s *source) look(maxAge time.Duration) (found []domain.Finding, quick *diagnosis.Quick) {
	if err := s.whyNot(); err != nil {
		found = append(found, diagnosis.NotServed(outsidersText(err)))
	}
	if s.isOpen() && s.lookout != nil {
		sight := s.lookout.Look(maxAge)
		found, quick = append(found, sight.Findings...), &sight.Quick
	}
	return found, quick
}
