package daemon

import (
	"context"
	"time"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/figures"
	"outboxd/handler/dashboard"
	"outboxd/handler/monitor"
	"outboxd/jobs/inspect"
	"outboxd/jobs/lookup"
	"outboxd/jobs/pauses"
	"outboxd/jobs/publish"
	"outboxd/jobs/retries"
	"outboxd/relay"
	"outboxd/repository/deadletters"
	"outboxd/repository/recall"
	"outboxd/repository/schedules"
	"outboxd/repository/search"
	"outboxd/repository/subscriptions"
)

// addMonitor adds the HTTP listeners. Every process serves health, readiness and
// metrics; a process with the role monitor also serves the pages, on the same
// listener or on one of their own. beside is the relay of this process, or nil.
func (d *Daemon) addMonitor(beside *relay.Relay) error {
	if d.monitorListener == nil && d.probeListener == nil {
		return nil
	}
	var pages *monitor.TaskPages
	var sources dashboard.Sources
	if d.monitorListener != nil && d.cfg.HasRole(config.RoleMonitor) {
		pages = monitor.NewTaskPages(d.redis)
		d.undo = append(d.undo, func() { _ = pages.Close() })
		sources = d.sources()
	}
	roles := make([]string, len(d.cfg.Roles))
	for i, role := range d.cfg.Roles {
		roles[i] = string(role)
	}
	options := monitor.Options{
		Logger: d.log, Registry: d.registry, Version: d.build.Version, Roles: roles,
		Checks: d.checks(beside), Warnings: d.warnings, Draining: d.lineup.isDraining,
		Pages: pages, Sources: sources, Ways: waysIn(d.cfg), TrustedProxies: d.cfg.API.TrustedProxies,
	}
	patience := share(d.cfg.ShutdownTimeout, requestShare) / 2
	if d.probeListener == nil {
		d.lineup.add(stageMonitor, "monitor", serve(monitor.New(options), d.monitorListener, patience))
		return nil
	}
	probes, shown := monitor.NewApart(options)
	d.lineup.add(stageMonitor, "probes", serve(probes, d.probeListener, patience))
	if d.monitorListener != nil {
		d.lineup.add(stageMonitor, "monitor", serve(shown, d.monitorListener, patience))
	}
	return nil
}

// sources returns the interfaces from which the pages read their data.
func (d *Daemon) sources() dashboard.Sources {
	return dashboard.Sources{
		Events: search.NewOverviews(d.database), Look: d.lookout.Look,
		Lives: failing.Lives{Reader: search.NewLives(d.database), Tasks: retries.New(d.redis), NoHistory: d.cfg.Relay.History <= 0}, Tasks: lookup.New(d.redis),
		Failing: d.failingChange(),
		Dead:    deadletters.New(d.database), Unconfirmed: d.cfg.Relay.Unconfirmed,
		Subscriptions: subscriptions.New(d.database),
		Figures: &figures.Source{
			Store: search.NewFigures(d.database), Queues: inspect.NewOverviews(d.redis), Failing: retries.New(d.redis), Foreign: d.foreignQueues,
		},
		Pauses:      &figures.Pauses{Queues: pauses.New(d.redis), Actions: deadletters.New(d.database)},
		Corrections: deadletters.New(d.database), Changes: recall.New(d.database).Asking(lookup.New(d.redis)),
		Keys: search.NewHeldKeys(d.database), Schedules: schedules.New(d.database),
		Mask: d.cfg.Monitor.Mask, TraceURL: d.cfg.Monitor.TraceURL,
	}
}

// failingChange returns what the pages use to retry failing tasks or give them up.
func (d *Daemon) failingChange() *failing.Change {
	return &failing.Change{
		Tasks: retries.New(d.redis), Known: search.NewKnownEvents(d.database, d.cfg.Relay.History).Among, Archived: inspect.NewArchive(d.redis),
		Failures: deadletters.NewFailedTasks(d.database, d.cfg.Relay.Ordering == config.OrderingBlock), Actions: deadletters.New(d.database),
	}
}

// checks returns the readiness checks, one for each server that the roles of this
// process need.
func (d *Daemon) checks(beside *relay.Relay) []monitor.Check {
	var checks []monitor.Check
	checks = append(checks, monitor.Check{Name: "postgres", Run: func(ctx context.Context) error {
		if err := d.database.Ping(ctx); err != nil || beside == nil {
			return err
		}
		return beside.DatabaseUsable()
	}})
	if d.redis != nil {
		prober := publish.New(d.redis)
		if d.cfg.HasRole(config.RoleRelay) {
			prober.WaitReplicas(d.cfg.Redis.WaitReplicas)
		}
		checks = append(checks, monitor.Check{Name: "redis", Run: func(ctx context.Context) error {
			if err := prober.Ping(ctx); err != nil || beside == nil {
				return err
			}
			return beside.QueueUsable()
		}})
	}
	return checks
}

// probedAge is how old the quick facts behind /readyz may be. Several clients probe
// every few seconds, so requests share them.
const probedAge = 5 * time.Second

// warnings returns the findings that need action. A process can have such findings
// and still be ready.
func (d *Daemon) warnings() []string {
	if d.lookout == nil {
		return domain.Warnings(d.findings())
	}
	return domain.Warnings(d.lookout.Look(probedAge).Findings)
}
