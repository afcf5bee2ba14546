package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"outboxd/config"
	"outboxd/jobs/work"
)

// addRoles adds the actors of all chosen roles, of the examinations, of the embedded
// servers, and of the HTTP listeners for probes and pages.
func (d *Daemon) addRoles() error {
	d.newRedisWatch()
	d.addSources()
	for _, role := range []struct {
		name config.Role
		add  func() error
	}{
		{config.RoleWorker, d.addWorker},
		{config.RoleAPI, func() error { d.addAPI(); return nil }},
	} {
		if !d.cfg.HasRole(role.name) {
			continue
		}
		if err := role.add(); err != nil {
			return fmt.Errorf("set up the role %s: %w", role.name, err)
		}
	}
	if d.servers.Embedded() {
		d.lineup.add(stageMonitor, "embedded servers", d.servers.Watch)
	}
	d.addWatches()
	return d.addMonitor()
}

// addSupervised adds an actor that supervise restarts when it fails.
func (d *Daemon) addSupervised(at stage, name string, run func(context.Context) error) {
	d.lineup.add(at, name, func(ctx context.Context) error { return supervise(ctx, name, d.log, run) })
}

// addSources adds the actors of the relay. If this process has several databases, each has
// one actor, which opens the database too.
func (d *Daemon) addSources() {
	for _, s := range d.sources {
		d.hangs = append(d.hangs, s.hangs)
		if s.name != "" {
			s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "outboxd_relay_source_open", Help: "1 if this process serves the database, 0 if it could not open it, or if a part of the relay rests after failures. Absent with a single database.",
			}, s.open01))
			d.lineup.add(stageRelay, s.name, s.run)
			continue
		}
		s.assemble()
		if s.relay == nil {
			continue
		}
		for _, actor := range s.relay.Actors() {
			d.addSupervised(stageRelay, actor.Name, actor.Run)
		}
	}
}

// The shares of the shutdown timeout for requests and for running tasks. The stages
// drain one after another, so each must leave time for the next. The time that
// remains is for the relay's batches, and for giving unfinished tasks back to their queues.
const (
	requestShare = 0.25
	workerShare  = 0.5
)

func share(of time.Duration, part float64) time.Duration { return time.Duration(part * float64(of)) }

func (d *Daemon) addWorker() error {
	conns := d.connectionsFor(d.sizes.TaskConns, d.sizes.FailureConns)
	handlers, batches := ownHandlers(), ownBatches()
	outward, err := d.outward(conns.bound)
	if err != nil {
		return err
	}
	if len(handlers)+len(batches)+len(outward) == 0 {
		d.log.Warn("this worker has no handler, so it leaves every task in its queue; add handlers to the build, or run the example's with --example=on")
	}
	worker := work.New(work.Options{
		Redis:        d.redis,
		Inbox:        conns.inbox,
		Failures:     conns.failures,
		Handlers:     handlers,
		Batches:      batches,
		Outward:      outward,
		Concurrency:  d.sizes.Tasks,
		Connections:  d.sizes.TaskConns,
		Queues:       d.cfg.Worker.Queues,
		PollInterval: d.cfg.Worker.PollInterval,
		Drain:        share(d.cfg.ShutdownTimeout, workerShare),
		Logger:       d.log,
		Registry:     d.registry,
		Version:      d.build.Version,
		Tracer:       d.traces.Tracer("outboxd/jobs"),
	})
	d.hangs = append(d.hangs, worker.Hangs)
	d.addSupervised(stageWorker, "worker", worker.Run)
	return d.addDeliveries()
}

// serve runs an HTTP listener until ctx ends. Then it lets the running requests finish,
// for at most the given time. A request that lasts longer is cut off. That is no failure
// of this process, because a client can cause it.
func serve(app *fiber.App, listener net.Listener, patience time.Duration, log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		result := make(chan error, 1)
		go func() { result <- app.Listener(listener) }()
		select {
		case err := <-result:
			return fmt.Errorf("serve HTTP at %s: %w", listener.Addr(), err)
		case <-ctx.Done():
		}
		err := app.ShutdownWithTimeout(patience)
		if errors.Is(err, context.DeadlineExceeded) {
			log.Warn("requests did not finish in time, and are cut off when the process ends", "listener", listener.Addr(), "patience", patience)
			err = nil
		}
		// If the server has not begun to listen yet, Shutdown does nothing. So
		// close the listener too, which ends the server.
		_ = listener.Close()
		if served := <-result; err == nil && !errors.Is(served, net.ErrClosed) {
			err = served
		}
		if err != nil {
			return fmt.Errorf("finish the requests at %s: %w", listener.Addr(), err)
		}
		return nil
	}
}
