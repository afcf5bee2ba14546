package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
	"outboxd/migrations"
	"outboxd/relay"
	"outboxd/repository/heal"
)

// restAfterGivingUp is how long a part of one of several sources rests after it failed ten
// times in a row. A process with a single source ends in that case.
const restAfterGivingUp = time.Minute

// run serves one of several sources until ctx ends. It opens the database as soon as the
// database can be used. No failure of the database ends run, so the other sources go on.
func (s *source) run(ctx context.Context) error {
	if !s.awaitOpen(ctx) {
		return nil
	}
	var running sync.WaitGroup
	if s.relay != nil {
		for _, actor := range s.relay.Actors() {
			running.Go(func() { s.endure(ctx, actor) })
		}
	}
	<-ctx.Done()
	running.Wait()
	return nil
}

// awaitOpen opens the source, and tries again until it succeeds. It returns false if ctx
// ended before.
func (s *source) awaitOpen(ctx context.Context) bool {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.Multiplier, pause.MaxInterval = 500*time.Millisecond, 2, 10*time.Second
	for {
		err := domain.Recovered("panic", func() error { return s.open(ctx) })
		if err == nil {
			s.log.Info("this database is served")
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		again := pause.NextBackOff()
		s.failed(err, "this database is not served; the others are", again)
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
	if other := s.d.claim(record.Name, s.name); other != s.name {
		return domain.Errorf(domain.CodeInvalid, "it has the same outbox as %s, or a copy of it", other)
	}
	s.assemble()
	s.mu.Lock()
	s.fault = nil
	s.mu.Unlock()
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

// endure runs one part of the relay until ctx ends. When supervise gives the part up,
// endure lets it rest and starts it again.
func (s *source) endure(ctx context.Context, actor relay.Actor) {
	for {
		err := supervise(ctx, actor.Name, s.log, actor.Run)
		if err == nil {
			return
		}
		s.failed(err, actor.Name+" rests; the other databases go on", restAfterGivingUp)
		timer := time.NewTimer(restAfterGivingUp)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			s.mu.Lock()
			s.fault = nil
			s.mu.Unlock()
		}
	}
}

// failed stores why the source is not served. failed logs an error of another kind as an
// error, and a repeated one for debugging only.
func (s *source) failed(err error, message string, again time.Duration) {
	s.mu.Lock()
	level := slog.LevelError
	if s.fault != nil && outsidersText(s.fault) == outsidersText(err) {
		level = slog.LevelDebug
	}
	s.fault = err
	s.mu.Unlock()
	s.log.Log(context.Background(), level, message, "again_in", again.Round(time.Millisecond), "error", err)
}

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

// knownEvents returns those of the IDs that are, or may be, events of a source. While a
// source cannot be asked, every ID may be one of its events.
func (d *Daemon) knownEvents(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	if d.one != nil {
		return d.one.knownEvents(ctx, ids)
	}
	var known []domain.ID
	for _, s := range d.sources {
		if !s.isOpen() {
			return ids, nil
		}
		own, err := s.knownEvents(ctx, ids)
		if err != nil {
			return ids, nil //nolint:nilerr // the examination of the source reports it
		}
		for _, id := range own {
			if !slices.Contains(known, id) {
				known = append(known, id)
			}
		}
	}
	return known, nil
}

// receivers returns the receivers of all sources to which nothing is delivered now.
func (d *Daemon) receivers(ctx context.Context) (all []overview.ReceiverStatus, err error) {
	for _, s := range d.sources {
		if !s.isOpen() {
			continue
		}
		own, err := s.receivers(ctx)
		if err != nil && d.one != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}

// queueUsable returns nil, or why a relay of this process cannot publish to Redis.
func (d *Daemon) queueUsable() error {
	for _, s := range d.sources {
		if s.isOpen() && s.relay != nil {
			if err := s.relay.QueueUsable(); err != nil {
				return err
			}
		}
	}
	return nil
}

// findingsOfAll returns the findings of several sources, the worst first. A finding about a
// database begins with the name of its source.
func (d *Daemon) findingsOfAll(maxAge time.Duration) []domain.Finding {
	each := make([][]domain.Finding, len(d.sources))
	var looked sync.WaitGroup
	for i, s := range d.sources {
		looked.Go(func() { each[i] = s.look(maxAge) })
	}
	looked.Wait()
	about := make([]diagnosis.About, len(each))
	for i, s := range d.sources {
		about[i] = diagnosis.About{Source: s.name, Findings: each[i]}
	}
	return diagnosis.Join(about, d.shared())
}

// look returns the findings about one of several sources.
func (s *source) look(maxAge time.Duration) []domain.Finding {
	switch {
	case !s.isOpen():
		return []domain.Finding{diagnosis.NotServed(outsidersText(s.whyNot()))}
	case s.lookout == nil:
		return nil
	default:
		return s.lookout.Look(maxAge).Findings
	}
}
