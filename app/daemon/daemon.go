package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"outboxd/app/servers"
	"outboxd/app/systemd"
	"outboxd/app/tracing"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
)

// Build identifies the binary.
type Build struct{ Version, Commit, Date string }

// Daemon is this process with its chosen roles (api, relay, worker, monitor), ready to run.
type Daemon struct {
	cfg      *config.Config
	sizes    config.Sizes
	log      *slog.Logger
	build    Build
	registry *prometheus.Registry
	begun    time.Time
	process  domain.RelayProcess
	traces   *tracing.Tracing // nil: none

	apiListener, monitorListener, probeListener net.Listener // nil: not configured

	servers    *servers.Servers
	sources    []*source
	one        *source            // the only source; nil if --databases is set
	redis      *broker.Redis      // nil: no role needs it
	redisWatch *watch             // nil without Redis
	inspector  *inspect.Inspector // nil without Redis
	hangs      []func() error     // each returns an error if a relay or a worker hangs
	deliveries *deliveries        // nil without the role worker
	lineup     *lineup

	outboxesMu sync.Mutex
	outboxes   map[string]string                // the name of an outbox to its source
	twice      atomic.Pointer[[]domain.Finding] // about subscriptions whose name several sources have

	undo []func() // clean-up of everything opened so far, called in reverse order
}

// New binds the listeners, starts the embedded servers if some are needed, connects to the
// database, and brings its schema up to date or, with --migrate=off, checks it. If there
// are several databases, Run connects to them instead. ctx bounds only New. After an error
// nothing is left running.
func New(ctx context.Context, cfg *config.Config, log *slog.Logger, build Build) (_ *Daemon, err error) {
	d := &Daemon{cfg: cfg, sizes: cfg.Sizes(), log: log, build: build, begun: time.Now(), registry: newRegistry(build), process: NewProcess(build.Version)}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	log.Info("outboxd starts", "version", build.Version, "roles", cfg.Roles, "config_file", cfg.Path())
	// Tracing starts first and so is closed last, because it exports the spans of
	// all other parts.
	if d.traces, err = tracing.Start(ctx, build.Version, d.process.ID, log); err != nil {
		return nil, err
	}
	d.undo = append(d.undo, d.traces.Close)
	// Listen before the servers are started, so that a port in use is reported
	// early.
	if err := d.listen(); err != nil {
		return nil, err
	}
	if err := d.startServers(ctx); err != nil {
		return nil, err
	}
	keepWithinLimits(d.servers.Embedded(), d.sizes, log)
	if err := d.openSources(ctx); err != nil {
		return nil, err
	}
	if err := d.openRedis(); err != nil {
		return nil, err
	}
	// The actors must not end with ctx all at once: draining ends them stage by stage.
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

// spareConnections is the number of connections to Redis for everything except the
// pollers and the workers: the leader, the probes, the examination and the pages. Each
// further database adds leaderConnections, because it has a leader of its own.
const (
	spareConnections  = 6
	leaderConnections = 2
)

// openRedis does not connect yet, so an outage of Redis does not prevent the
// start.
func (d *Daemon) openRedis() (err error) {
	if !servers.NeedsRedis(d.cfg) {
		return nil
	}
	broker.BridgeLog(d.log)
	n := len(d.sources)
	d.redis, err = d.servers.OpenRedis(n*d.cfg.Relay.Concurrency + (n-1)*leaderConnections + spareConnections)
	if err == nil {
		d.undo = append(d.undo, func() { _ = d.redis.Close() })
	}
	return err
}

// Run runs the roles until ctx ends, drains them, and closes everything. Run
// returns nil if ctx ended and all roles drained in time and without a failure. Call it
// only once.
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
	defer systemd.NewManager(d.log).Accompany(d.lineup.draining, d.alive)()
	err := d.lineup.run(ctx)
	if err == nil {
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

// alive returns an error if a part of this process hangs or has ended. Until the process
// drains, the service manager gets a ping only while this method returns nil.
func (d *Daemon) alive() error {
	for _, hangs := range d.hangs {
		if err := hangs(); err != nil {
			return err
		}
	}
	if ended := d.lineup.ended(); len(ended) > 0 {
		return errors.New("no longer running: " + ended[0])
	}
	return nil
}
