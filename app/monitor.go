package app

import (
	"outboxd/config"
	"outboxd/handler"
	"outboxd/jobs"
)

// addMonitor adds the listener that every process has: health, readiness and
// metrics, and the pages if this process has the role.
func (d *Daemon) addMonitor() error {
	if d.monitorListener == nil {
		return nil
	}
	checks, err := d.checks()
	if err != nil {
		return err
	}
	var pages *handler.TaskPages
	if d.cfg.HasRole(config.RoleMonitor) {
		pages = handler.NewTaskPages(d.redis)
		d.undo = append(d.undo, func() { _ = pages.Close() })
	}
	roles := make([]string, len(d.cfg.Roles))
	for i, role := range d.cfg.Roles {
		roles[i] = string(role)
	}
	app := handler.Monitor(handler.MonitorOptions{
		Logger: d.log, Registry: d.registry, Version: d.build.Version, Roles: roles,
		Checks: checks, Warnings: d.warnings, Draining: d.lineup.isDraining,
		Pages: pages, Address: d.cfg.Monitor.Addr, AdminToken: string(d.cfg.AdminToken),
		TrustedProxies: d.cfg.API.TrustedProxies,
	})
	d.lineup.add(stageMonitor, "monitor", serve(app, d.monitorListener, share(d.cfg.ShutdownTimeout, requestShare)/2))
	return nil
}

// checks are what the running roles cannot do without.
func (d *Daemon) checks() ([]handler.Check, error) {
	var checks []handler.Check
	if d.database != nil {
		checks = append(checks, handler.Check{Name: "postgres", Run: d.database.Ping})
	}
	if d.redis != nil {
		prober, err := jobs.NewPublisher(d.redis, 0)
		if err != nil {
			return nil, err
		}
		d.undo = append(d.undo, func() { _ = prober.Close() })
		checks = append(checks, handler.Check{Name: "redis", Run: prober.Ping})
	}
	return checks, nil
}

// warnings are states that work, and that somebody should know about.
func (d *Daemon) warnings() []string {
	var list []string
	if d.servers.forgetful() {
		list = append(list, "Redis runs inside this process and forgets its queue at exit; install redis-server or give --redis-url")
	}
	return list
}
