package app

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"outboxd/domain"
)

// How often a server is looked at, which is how long a change or another server
// behind the same address goes unreported; how often it is tried while it cannot
// be reached; and how long a process has to get going before what it does not do
// yet is worth a finding.
const (
	watchEvery  = time.Minute
	watchAgain  = 5 * time.Second
	watchSettle = 5 * time.Second
)

// watch looks at a server again and again for as long as the process runs. Its
// methods are safe for concurrent use.
type watch struct {
	server   string // its name, for people
	examiner domain.Examiner
	log      *slog.Logger
	latest   atomic.Pointer[[]domain.Finding]
}

// findings returns what the last look found; nothing before the first one.
func (w *watch) findings() []domain.Finding {
	if found := w.latest.Load(); found != nil {
		return *found
	}
	return nil
}

// run looks once a minute, until ctx ends, and logs what is new and what is
// mended. A server that cannot be reached is reported in the log by those who
// need it.
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

// look returns when to look again.
func (w *watch) look(ctx context.Context) time.Duration {
	found, err := w.examiner.Examine(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.log.DebugContext(ctx, "could not examine "+w.server, "error", err)
			w.latest.Store(&[]domain.Finding{unusable(w.server, err)})
		}
		return watchAgain
	}
	before := w.findings()
	w.latest.Store(&found)
	// Texts hold ages and counts, so it is the code that tells what is new.
	for _, f := range found {
		if slices.ContainsFunc(before, func(g domain.Finding) bool { return g.Code == f.Code && g.Level == f.Level }) {
			continue
		}
		level := slog.LevelInfo
		if f.Level == domain.FindingWarning {
			level = slog.LevelWarn
		}
		w.log.Log(ctx, level, f.Found, "finding", f.Code, "consequence", f.Consequence, "remedy", f.Remedy)
	}
	for _, f := range before {
		if !slices.ContainsFunc(found, func(g domain.Finding) bool { return g.Code == f.Code }) && f.Code != unreachable(w.server).Code {
			w.log.InfoContext(ctx, "this is no longer so: "+f.Found, "finding", f.Code)
		}
	}
	return watchEvery
}

// The servers' names.
const (
	serverPostgres = "PostgreSQL"
	serverRedis    = "Redis"
)

// unusable is what is found where a look ended in an error.
func unusable(server string, err error) domain.Finding {
	if f, known := domain.FindingOf(err); known {
		return f
	}
	return unreachable(server)
}

// unreachable is what is found where nothing can be looked at.
func unreachable(server string) domain.Finding {
	f := domain.Finding{
		Level: domain.FindingWarning,
		Found: server + " cannot be reached",
	}
	if server == serverPostgres {
		f.Code, f.Consequence = "postgres-unreachable", "no event can be written, relayed or confirmed until it answers; none is lost"
		f.Remedy = "start it, or name another with --database-url; pg_isready says whether it takes connections"
		return f
	}
	f.Code, f.Consequence = "redis-unreachable", "events wait in PostgreSQL, and no task runs until it answers; none is lost"
	f.Remedy = "start it, or name another with --redis-url; redis-cli PING says whether it answers"
	return f
}
