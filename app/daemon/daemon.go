package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"outboxd/app/lookout"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/config/value"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/migrations"
	"outboxd/relay"
	"outboxd/repository/postgres"
)

// Build identifies the binary.
type Build struct{ Version, Commit, Date string }

// Daemon is this process with its chosen roles (api, relay, worker, monitor), ready to run.
type Daemon struct {
	cfg      *config.Config
	log      *slog.Logger
	build    Build
	registry *prometheus.Registry
	begun    time.Time
	process  domain.RelayProcess
	traces   *tracing // nil: none

	apiListener, monitorListener, probeListener net.Listener // nil: not configured

	servers    *servers.Servers
	database   *postgres.Database
	redis      *broker.Redis // nil: no role needs it
	watches    []*watch
	inspector  *inspect.Inspector // nil without Redis
	lookout    *lookout.Lookout   // nil if this process neither relays nor shows pages
	relay      *relay.Relay       // nil: not a role of this process
	hangs      []func() error     // of the relay and the workers: see alive
	deliveries *deliveries        // nil without the role worker
	lineup     *lineup

	undo []func() // clean-up of everything opened so far, called in reverse order
}

// New does everything that can fail permanently: it binds the listeners, starts
// the embedded servers, connects to the database and brings its schema up to
// date. ctx bounds only New. After an error nothing is left running.
func New(ctx context.Context, cfg *config.Config, log *slog.Logger, build Build) (_ *Daemon, err error) {
	d := &Daemon{cfg: cfg, log: log, build: build, begun: time.Now(), registry: newRegistry(build), process: NewProcess(build.Version)}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	log.Info("outboxd starts", "version", build.Version, "roles", cfg.Roles, "config_file", cfg.Path())
	// Tracing starts first and so is closed last, because it exports the spans of
	// all other parts.
	if err := d.startTracing(ctx); err != nil {
		return nil, err
	}
	// Listen before the database is started, so that a port in use is reported
	// early.
	if err := d.listen(); err != nil {
		return nil, err
	}
	if err := d.startServers(ctx); err != nil {
		return nil, err
	}
	keepWithinLimits(d.servers.Embedded(), log)
	if err := d.openDatabase(ctx); err != nil {
		return nil, err
	}
	if err := d.openRedis(); err != nil {
		return nil, err
	}
	// The actors must not end with ctx: when it ends, they begin to drain.
	d.lineup = newLineup(context.WithoutCancel(ctx), cfg.ShutdownTimeout, log)
	if err := d.addRoles(); err != nil {
		return nil, err
	}
	return d, nil
}

func newRegistry(build Build) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "outboxd_build_info", Help: "1, with the version of the binary.",
		ConstLabels: prometheus.Labels{"version": build.Version, "commit": build.Commit},
	})
	info.Set(1)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return registry
}

func (d *Daemon) listen() (err error) {
	if d.cfg.HasRole(config.RoleAPI) {
		if d.apiListener, err = d.bind(d.cfg.API.Addr, "--api-addr, OUTBOXD_API_ADDR or api.addr"); err != nil {
			return err
		}
	}
	if d.cfg.HasMonitorListener() {
		if d.monitorListener, err = d.bind(d.cfg.Monitor.Addr, "--monitor-addr, OUTBOXD_MONITOR_ADDR or monitor.addr"); err != nil {
			return err
		}
	}
	if d.cfg.Probe.Addr != "" {
		if d.probeListener, err = d.bind(d.cfg.Probe.Addr, "--probe-addr, OUTBOXD_PROBE_ADDR or probe.addr"); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) bind(addr, option string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with %s", err, option)
	}
	d.undo = append(d.undo, func() { _ = listener.Close() })
	return listener, nil
}

func (d *Daemon) startServers(ctx context.Context) (err error) {
	if d.servers, err = servers.Start(ctx, d.cfg, d.log); err != nil {
		return err
	}
	d.undo = append(d.undo, func() {
		if err := d.servers.Close(context.Background()); err != nil {
			d.log.Error("could not stop the embedded servers", "error", err)
		}
	})
	return nil
}

func (d *Daemon) openDatabase(ctx context.Context) (err error) {
	if d.database, err = servers.OpenDatabase(ctx, d.cfg, d.servers.DatabaseURL, d.cfg.PoolSize(), d.traces.statements(), d.log); err != nil {
		return err
	}
	d.undo = append(d.undo, d.closeDatabase)
	// PostgreSQL may become unreachable during the start. In that case New waits for
	// PostgreSQL as long as if PostgreSQL had not answered at all.
	patience := time.NewTimer(d.cfg.Database.ConnectTimeout)
	defer patience.Stop()
	retry := time.NewTicker(schemaRetry)
	defer retry.Stop()
	for waiting := false; ; waiting = true {
		err := d.prepareSchema(ctx)
		if err == nil || !postgres.IsUnavailable(err) {
			return err
		}
		if !waiting {
			d.log.Info("the database went away; waiting for it", "patience", d.cfg.Database.ConnectTimeout, "error", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-patience.C:
			return err
		case <-retry.C:
		}
	}
}

const schemaRetry = 200 * time.Millisecond

// prepareSchema applies pending migrations. If this process may not migrate
// (--migrate=off), prepareSchema returns an error if migrations are pending.
func (d *Daemon) prepareSchema(ctx context.Context) error {
	for _, set := range servers.Migrations(d.cfg.RunsExample()) {
		if d.cfg.Migrate == config.MigrateOff {
			if err := set.Check(ctx, d.database.SQL()); err != nil {
				return err
			}
			continue
		}
		applied, err := set.Up(ctx, d.database.SQL(), d.log.With("component", "migrations"))
		if applied > 0 {
			d.log.Info("brought the schema up to date", "schema", d.database.Schema()+set.Suffix, "migrations", applied)
		}
		if err != nil {
			return err
		}
	}
	if d.cfg.Migrate == config.MigrateOff {
		return d.comparePayloadLimit(ctx)
	}
	_, err := servers.LimitPayload(ctx, d.cfg, d.database, d.log)
	return err
}

// comparePayloadLimit logs a warning if the configured payload limit differs from
// the limit in the outbox's schema. prepareSchema calls comparePayloadLimit in processes that
// may not change the schema.
func (d *Daemon) comparePayloadLimit(ctx context.Context) error {
	if d.cfg.Relay.MaxPayload == 0 {
		return nil
	}
	limit, err := migrations.PayloadLimit(ctx, d.database.SQL())
	if err == nil && limit != int(d.cfg.Relay.MaxPayload) {
		d.log.Warn("the outbox has another payload limit than is configured; run outboxd migrate up with this configuration",
			"configured", d.cfg.Relay.MaxPayload, "in_force", value.Size(limit))
	}
	return err
}

// poolPatience is how long closing the pool may wait for connections in use.
const poolPatience = 5 * time.Second

// closeDatabase closes the pool. closeDatabase waits only a limited time, because a
// server that does not answer can block the close.
func (d *Daemon) closeDatabase() {
	closed := make(chan struct{})
	go func() { d.database.Close(); close(closed) }()
	patience := time.NewTimer(poolPatience)
	defer patience.Stop()
	select {
	case <-closed:
	case <-patience.C:
		d.log.Warn("the database connections could not be closed in time; the server will find out", "patience", poolPatience)
	}
}

// spareConnections is the number of connections to Redis for everything except the
// pollers: the leader, the probes, the examination and the pages.
const spareConnections = 6

// openRedis does not connect yet, so an outage of Redis does not prevent the
// start.
func (d *Daemon) openRedis() (err error) {
	if !servers.NeedsRedis(d.cfg) {
		return nil
	}
	broker.BridgeLog(d.log)
	d.redis, err = d.servers.OpenRedis(d.cfg.Relay.Concurrency + spareConnections)
	if err == nil {
		d.undo = append(d.undo, func() { _ = d.redis.Close() })
	}
	return err
}

// Run runs the roles until ctx ends, drains them, and closes everything. Run
// returns nil if ctx ended and all roles drained in time. Call it only once.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.close()
	attrs := []any{"after", time.Since(d.begun).Round(time.Millisecond), "roles", d.cfg.Roles}
	if d.apiListener != nil {
		attrs = append(attrs, "api", "http://"+d.apiListener.Addr().String())
	}
	if d.monitorListener != nil {
		attrs = append(attrs, "monitor", "http://"+d.monitorListener.Addr().String())
	}
	if d.probeListener != nil {
		attrs = append(attrs, "probe", "http://"+d.probeListener.Addr().String())
	}
	d.log.Info("ready", attrs...)
	defer (&manager{log: d.log}).accompany(d.lineup.draining, d.alive)()
	err := d.lineup.run(ctx)
	if err == nil || errors.Is(err, ctx.Err()) {
		d.log.Info("drained", "roles", d.cfg.Roles)
	}
	return err
}

// close closes everything in reverse order: clients before the pool, the pool
// before the servers.
func (d *Daemon) close() {
	for _, v := range slices.Backward(d.undo) {
		v()
	}
	d.undo = nil
}
