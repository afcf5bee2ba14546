package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"outboxd/app/lookout"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/jobs/inspect"
	"outboxd/jobs/retries"
	"outboxd/relay"
	"outboxd/repository/examine"
	"outboxd/repository/search"
)

// How often a server is examined, which is also how late a change may be reported.
// How often an unreachable server is tried. How long after the start the first
// examination waits, so that parts of this process that are still starting are no
// findings.
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

// findings returns the findings of the last examination; none before the first.
func (w *watch) findings() []domain.Finding {
	if found := w.latest.Load(); found != nil {
		return *found
	}
	return nil
}

// run examines the server once a minute until ctx ends, and logs findings that are
// new or gone. run does not log that the server cannot be reached: the parts that
// need the server log it.
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
	found, err := w.examiner.Examine(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.log.DebugContext(ctx, "could not examine "+w.server, "error", err)
			w.latest.Store(&[]domain.Finding{diagnosis.Unusable(w.server, err)})
		}
		return watchAgain
	}
	before := w.findings()
	w.latest.Store(&found)
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
			w.log.InfoContext(ctx, "this is no longer so: "+f.Found, "finding", f.Code)
		}
	}
	return watchEvery
}

// addWatches adds the periodic examinations. A process with the role relay or
// monitor examines PostgreSQL; every process that uses Redis examines Redis. beside
// is the relay of this process, or nil.
func (d *Daemon) addWatches(beside *relay.Relay) error {
	log := d.log.With("component", "doctor")
	add := func(server string, examiner domain.Examiner) {
		w := &watch{server: server, examiner: examiner, log: log}
		d.watches = append(d.watches, w)
		d.addSupervised(stageMonitor, "examination of "+server, w.run)
	}
	shows := d.cfg.HasRole(config.RoleRelay) || d.cfg.HasRole(config.RoleMonitor)
	if shows {
		add(diagnosis.PostgreSQL, examine.New(d.database, servers.ExamineOptions(d.cfg)))
	}
	if d.redis == nil {
		return nil
	}
	inspector := inspect.NewInspector(d.redis, d.servers.Forgetful(), time.Now)
	d.inspector = inspector
	inspector.Handles(HandledTypes())
	inspector.OnlyOurs(search.NewKnownEvents(d.database, d.cfg.Relay.History).Among)
	inspector.Receivers(search.NewOverviews(d.database).Receivers)
	add(diagnosis.Redis, inspector)
	if shows {
		d.lookout = lookout.New(lookout.Sources{
			Events: search.NewOverviews(d.database), Queues: inspect.NewOverviews(d.redis), Failing: retries.New(d.redis), Foreign: inspector.Foreign,
			Process: func() diagnosis.Process { return d.itself(beside) }, Thorough: d.findings,
		})
	}
	return nil
}

// foreignQueues returns the queues that only other programs use, as the last look found.
func (d *Daemon) foreignQueues() []string {
	if d.inspector == nil {
		return nil
	}
	return d.inspector.Foreign()
}

// itself returns the facts about this process that findings depend on. beside is the
// relay of this process, or nil.
func (d *Daemon) itself(beside *relay.Relay) diagnosis.Process {
	p := diagnosis.Process{Draining: d.lineup.isDraining()}
	if beside != nil {
		p.Breakers = []diagnosis.Breaker{
			{Server: diagnosis.Redis, Open: beside.QueueUsable() != nil}, {Server: diagnosis.PostgreSQL, Open: beside.DatabaseUsable() != nil},
		}
	}
	return p
}

// findings returns the findings of the last thorough examinations, the worst first.
func (d *Daemon) findings() []domain.Finding {
	var found []domain.Finding
	for _, w := range d.watches {
		found = append(found, w.findings()...)
	}
	if d.deliveries != nil {
		found = append(found, d.deliveries.findings()...)
	}
	if d.relay != nil {
		// The relay of this process already knows which queues Redis refuses. The last
		// examination may have been before Redis began to refuse a queue.
		for _, f := range diagnosis.ForbiddenQueues(d.relay.UnusableQueues()) {
			found = append(slices.DeleteFunc(found, func(g domain.Finding) bool { return g.Code == f.Code }), f)
		}
	}
	domain.SortFindings(found)
	return found
}
