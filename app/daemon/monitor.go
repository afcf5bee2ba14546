package daemon

import (
	"context"
	"time"

	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/figures"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard"
	"outboxd/handler/monitor"
	"outboxd/jobs/inspect"
	"outboxd/jobs/lookup"
	"outboxd/jobs/pauses"
	"outboxd/jobs/publish"
	"outboxd/jobs/retries"
	"outboxd/repository/deadletters"
	"outboxd/repository/reading"
	"outboxd/repository/recall"
	"outboxd/repository/schedules"
	"outboxd/repository/search"
)

// addMonitor adds the HTTP listeners. A process serves health, readiness and metrics if
// it has a listener for them (--monitor-addr or --probe-addr). A process with the role
// monitor also serves the pages at --monitor-addr.
func (d *Daemon) addMonitor() error {
	if d.monitorListener == nil && d.probeListener == nil {
		return nil
	}
	var pages *monitor.TaskPages
	var databases []dashboard.Database
	sources := dashboard.Sources{Mask: d.cfg.Monitor.Mask}
	if d.monitorListener != nil && d.cfg.HasRole(config.RoleMonitor) {
		pages = monitor.NewTaskPages(d.redis)
		d.undo = append(d.undo, func() { _ = pages.Close() })
		if d.one != nil {
			sources = d.one.openPages()
		} else {
			databases = d.databasePages()
		}
	}
	roles := make([]string, len(d.cfg.Roles))
	for i, role := range d.cfg.Roles {
		roles[i] = string(role)
	}
	options := monitor.Options{
		Logger: d.log, Registry: d.registry, Version: d.build.Version, Roles: roles,
		Checks: d.checks(), Warnings: d.warnings, Draining: d.lineup.isDraining,
		PayloadLimit: d.payloadLimit,
		Pages:        pages, Sources: sources, Databases: databases, Ways: waysIn(d.cfg), TrustedProxies: d.cfg.API.TrustedProxies,
	}
	patience := share(d.cfg.ShutdownTimeout, requestShare) / 2
	if d.probeListener == nil {
		d.lineup.add(stageMonitor, "monitor", serve(monitor.New(options), d.monitorListener, patience, d.log))
		return nil
	}
	probes, shown := monitor.NewApart(options)
	d.lineup.add(stageMonitor, "probes", serve(probes, d.probeListener, patience, d.log))
	if d.monitorListener != nil {
		d.lineup.add(stageMonitor, "monitor", serve(shown, d.monitorListener, patience, d.log))
	}
	return nil
}

// payloadLimit returns the size of the largest payload that any outbox of this process takes,
// in bytes; 0: it is not known.
func (d *Daemon) payloadLimit() (limit int) {
	for _, s := range d.sources {
		limit = max(limit, int(s.payloadLimit.Load()))
	}
	return limit
}

// databasePages returns the pages of each of several databases.
func (d *Daemon) databasePages() (all []dashboard.Database) {
	for _, s := range d.sources {
		all = append(all, dashboard.Database{Name: s.name, Open: func() (dashboard.Sources, error) {
			if why := s.whyNot(); !s.isOpen() {
				return dashboard.Sources{}, domain.Wrap(domain.CodeUnavailable, why, outsidersText(why))
			}
			return s.openPages(), nil
		}})
	}
	return all
}

// openPages returns the interfaces from which the pages of an open source read their data.
// Call it once.
func (s *source) openPages() dashboard.Sources {
	reads := servers.NewReads(s.cfg, s.database, s.log)
	s.mu.Lock()
	s.reads = reads
	closed := s.closed
	s.mu.Unlock()
	if closed { // close ran before s.reads was set
		reads.Close()
	}
	return s.pages(reads)
}

// pages returns the interfaces from which the pages read their data. Most data that the
// pages only show comes from reads.
func (s *source) pages(reads *reading.Reads) dashboard.Sources {
	d := s.d
	return dashboard.Sources{
		Events: reading.NewOverviews(reads), Look: s.lookout.Look, Standby: reads.Standing, Wrote: reads.Wrote,
		Lives:   d.lives(reading.NewLives(reads).Within(lives.PagePatience)),
		Current: d.lives(search.NewLives(s.database).Within(lives.PagePatience)), Tasks: lookup.New(d.redis),
		Failing: s.failingChange(),
		Dead:    reading.NewLetters(reads), Unconfirmed: d.cfg.Relay.Unconfirmed,
		Subscriptions: reading.NewSubscriptions(reads),
		Figures: &figures.Source{
			Store: reading.NewFigures(reads), Queues: inspect.NewOverviews(d.redis), Failing: retries.New(d.redis), Foreign: d.foreignQueues, Unserved: d.unservedQueues,
			OneOfSeveral: d.cfg.OneOfSeveral(), Handled: HandledTypes(),
		},
		Pauses:      &figures.Pauses{Queues: pauses.New(d.redis), Actions: deadletters.New(s.database), OnRecord: search.NewFigures(s.database).PauseOnRecord, Receivers: search.NewOverviews(s.database).Receivers},
		Corrections: deadletters.New(s.database), PayloadLimit: int(s.payloadLimit.Load()), Changes: recall.New(s.database).Asking(lookup.New(d.redis)),
		Keys: reading.NewKeys(reads), Schedules: schedules.New(s.database),
		Mask: d.cfg.Monitor.Mask, TraceURL: string(d.cfg.Monitor.TraceURL),
	}
}

// lives adds what Redis knows to the lives of events.
func (d *Daemon) lives(reader lives.Reader) lives.Reader {
	return failing.Lives{Reader: reader, Tasks: retries.New(d.redis), NoHistory: d.cfg.Relay.History <= 0, Patience: lives.PagePatience}
}

// failingChange returns what the pages use to retry failing tasks or give them up.
func (s *source) failingChange() *failing.Change {
	d := s.d
	return &failing.Change{
		Tasks: retries.New(d.redis), Known: search.NewKnownEvents(s.database, d.cfg.Relay.History).Among, Archived: inspect.NewArchive(d.redis),
		Failures: deadletters.NewFailedTasks(s.database, d.cfg.Relay.Ordering == config.OrderingBlock), Actions: deadletters.New(s.database),
		Outcomes: deadletters.New(s.database).Outcomes, InFlight: search.NewLives(s.database).InFlight,
	}
}

// checks returns the readiness checks, one for each server that the roles of this process
// need. Of several databases, one that this process serves is enough.
func (d *Daemon) checks() []monitor.Check {
	var checks []monitor.Check
	for _, s := range d.sources {
		check := monitor.Check{Name: "postgres", Run: s.ping}
		if s.name != "" {
			check.Name, check.OneOf = "postgres "+s.name, "databases"
		}
		checks = append(checks, check)
	}
	if d.redis != nil {
		prober := publish.New(d.redis)
		if d.cfg.HasRole(config.RoleRelay) {
			prober.WaitReplicas(d.cfg.Redis.WaitReplicas)
		}
		checks = append(checks, monitor.Check{Name: "redis", Run: func(ctx context.Context) error {
			if err := prober.Ping(ctx); err != nil {
				return err
			}
			return d.queueUsable()
		}})
	}
	return checks
}

// probedAge is how old the quick facts behind /readyz may be. Several clients probe
// every few seconds, so requests share these facts.
const probedAge = 5 * time.Second

// warnings returns the findings that need action. A process can have such findings
// and still be ready.
func (d *Daemon) warnings() []string {
	switch {
	case d.one == nil:
		return domain.Warnings(d.findingsOfAll(probedAge))
	case d.one.lookout == nil:
		return domain.Warnings(d.one.findings())
	default:
		return domain.Warnings(d.one.lookout.Look(probedAge).Findings)
	}
}
