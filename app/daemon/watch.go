package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/jobs/inspect"
)

// watchEvery is the pause between two examinations of a server, and so about the longest
// delay until a change is reported. watchAgain is the pause after an examination that
// failed. watchSettle is the pause between the start and the first examination, so that
// parts of this process that are still starting are no findings.
const (
	watchEvery  = time.Minute
	watchAgain  = 5 * time.Second
	watchSettle = 5 * time.Second
)

// watch examines PostgreSQL or Redis repeatedly for as long as the process runs. Its
// methods are safe for concurrent use.
type watch struct {
	server   string // its name, for people
	examiner domain.Examiner
	log      *slog.Logger
	latest   atomic.Pointer[[]domain.Finding]
}

// findings returns the findings of the last examination; none before the first, and none
// of a nil watch.
func (w *watch) findings() []domain.Finding {
	if w == nil {
		return nil
	}
	if found := w.latest.Load(); found != nil {
		return *found
	}
	return nil
}

// run examines the server again and again until ctx ends (see watchEvery), and logs findings that
// are new or gone. That the server cannot be reached is logged only at level debug, because the
// parts that need the server log it.
func (w *watch) run(ctx context.Context) error {
	for pause := watchSettle; ; {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		pause = w.look(ctx)
	}
}

// look is one round of a watch: it examines the server once and returns the pause before
// the next examination.
func (w *watch) look(ctx context.Context) time.Duration {
	begun := time.Now()
	found, err := w.examiner.Examine(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.log.DebugContext(ctx, "could not examine "+w.server, "error", err)
			w.latest.Store(new(diagnosis.Checked([]domain.Finding{diagnosis.Unusable(w.server, err)}, begun)))
		}
		return watchAgain
	}
	before := w.findings()
	w.latest.Store(new(diagnosis.Checked(found, begun)))
	// Compare findings by their code, because their texts contain ages and counts,
	// which change.
	for _, f := range found {
		if slices.ContainsFunc(before, func(g domain.Finding) bool { return g.Code == f.Code && g.Level == f.Level }) {
			continue
		}
		level := slog.LevelInfo
		if f.IsProblem() {
			level = slog.LevelWarn
		}
		w.log.Log(ctx, level, f.Found, "finding", f.Code, "consequence", f.Consequence, "remedy", f.Remedy)
	}
	for _, f := range before {
		if !slices.ContainsFunc(found, func(g domain.Finding) bool { return g.Code == f.Code }) && f.Code != diagnosis.Unusable(w.server, nil).Code {
			w.log.InfoContext(ctx, "resolved: "+f.Found, "finding", f.Code)
		}
	}
	return watchEvery
}

func newWatch(server string, examiner domain.Examiner, log *slog.Logger) *watch {
	return &watch{server: server, examiner: examiner, log: log.With("component", "doctor")}
}

// newRedisWatch makes the examination of Redis; every process that uses Redis has one.
func (d *Daemon) newRedisWatch() {
	if d.redis == nil {
		return
	}
	d.inspector = inspect.NewInspector(d.redis, d.servers.Forgetful(), time.Now)
	d.inspector.Handles(HandledTypes())
	d.inspector.OnlyOurs(d.knownEvents)
	d.inspector.Receivers(d.receivers)
	d.redisWatch = newWatch(diagnosis.Redis, d.inspector, d.log)
}

// addWatches adds the periodic examinations. A process with the role relay or
// monitor examines PostgreSQL.
func (d *Daemon) addWatches() {
	for _, s := range d.sources {
		if s.name == "" && s.watch != nil { // see source.run for the others
			d.addSupervised(stageMonitor, "examination of "+diagnosis.PostgreSQL, s.watch.run)
		}
	}
	if d.redisWatch != nil {
		d.addSupervised(stageMonitor, "examination of "+diagnosis.Redis, d.redisWatch.run)
	}
}

// foreignQueues returns the queues that only other programs use, as the last examination found.
func (d *Daemon) foreignQueues() []string {
	if d.inspector == nil {
		return nil
	}
	return d.inspector.Foreign()
}

// unservedQueues returns the queues whose tasks no worker takes, as the last examination found.
func (d *Daemon) unservedQueues() []string {
	if d.inspector == nil {
		return nil
	}
	return d.inspector.Unserved()
}

// shared returns the findings that are not about a database.
func (d *Daemon) shared() []domain.Finding {
	found := slices.Clone(d.redisWatch.findings())
	if d.deliveries != nil {
		found = append(found, d.deliveries.findings()...)
	}
	return found
}
