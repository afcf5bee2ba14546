package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/handler/registration"
	"outboxd/jobs"
	"outboxd/jobs/inspect"
	"outboxd/jobs/notify"
	"outboxd/relay"
	"outboxd/repository"
)

// addRoles adds the actors of every role that is switched on, and of the
// listener that every process has.
func (d *Daemon) addRoles() error {
	var relay *relay.Relay
	for _, role := range []struct {
		name config.Role
		add  func() error
	}{
		{config.RoleRelay, func() error { relay = d.addRelay(); return nil }},
		{config.RoleWorker, d.addWorker},
		{config.RoleAPI, func() error { d.addAPI(relay); return nil }},
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
	if err := d.addWatches(); err != nil {
		return err
	}
	return d.addMonitor(relay)
}

// addSupervised adds an actor that is started again when it fails.
func (d *Daemon) addSupervised(at stage, name string, run func(context.Context) error) {
	d.lineup.add(at, name, func(ctx context.Context) error { return supervise(ctx, name, d.log, run) })
}

func (d *Daemon) addAPI(beside *relay.Relay) {
	var committed func()
	if beside != nil {
		committed = beside.Wake
	}
	api := registration.New(registration.Options{
		Users: repository.NewUsers(d.database), Committed: committed, Logger: d.log, Registerer: d.registry, Tracer: d.traces.tracer("outboxd/handler"), Version: d.build.Version,
		BodyLimit: int(d.cfg.API.BodyLimit), HashConcurrency: d.cfg.API.HashConcurrency,
		RateLimit: d.cfg.API.RateLimit, TrustedProxies: d.cfg.API.TrustedProxies,
	})
	d.lineup.add(stageAPI, "api", serve(api, d.apiListener, share(d.cfg.ShutdownTimeout, requestShare)))
}

// archiveEvery is how often the leader looks into the archives of all queues.
const archiveEvery = 20 * time.Second

func (d *Daemon) addRelay() *relay.Relay {
	store := repository.NewOutbox(d.database, repository.OutboxOptions{
		History: d.cfg.Relay.History > 0, Unconfirmed: d.cfg.Relay.Unconfirmed, DeadHoldsKey: d.cfg.Relay.Ordering == config.OrderingBlock,
	})
	publisher := jobs.NewPublisher(d.redis)
	publisher.WaitReplicas(d.cfg.Redis.WaitReplicas)
	publisher.Unconfirmed(d.cfg.Relay.Unconfirmed)
	r := relay.New(relay.Options{
		Store:        store,
		Publisher:    d.traced(publisher),
		Presence:     repository.NewPresence(d.database, string(d.cfg.Relay.ListenURL)),
		Housekeeping: repository.NewHousekeeping(d.database, string(d.cfg.Relay.ListenURL)),
		Unfinished:   publisher.Tasks(),
		Healing: &relay.Healing{
			Queue: publisher, Memory: repository.NewQueueMemory(store),
			CheckInterval: d.cfg.Redis.CheckInterval, Unconfirmed: d.cfg.Relay.Unconfirmed,
		},
		Archives: &relay.Archives{
			Queue: inspect.NewArchive(d.redis), Every: archiveEvery,
			Failures: repository.NewFailedTasks(d.database, d.cfg.Relay.Ordering == config.OrderingBlock),
		},
		Reconciliation: &relay.Reconciliation{
			Events: repository.NewMissingEvents(d.database), Tasks: publisher.Tasks(), Resend: d.cfg.Relay.Missing == config.MissingResend,
		},
		Database:       d.database.Ping,
		Process:        d.process,
		Concurrency:    d.cfg.Relay.Concurrency,
		BatchSize:      d.cfg.Relay.BatchSize,
		MaxAttempts:    d.cfg.Relay.MaxAttempts,
		BackoffBase:    d.cfg.Relay.BackoffBase,
		BackoffMax:     d.cfg.Relay.BackoffMax,
		PollInterval:   d.cfg.Relay.PollInterval,
		PollMin:        d.cfg.Relay.PollMin,
		Listen:         d.cfg.Relay.Listen != config.ListenOff,
		MaxQueue:       d.cfg.Relay.MaxQueue,
		Lengths:        inspect.NewOverviews(d.redis),
		History:        d.cfg.Relay.History,
		InboxRetention: d.cfg.Relay.InboxRetention,
		KeyRetention:   d.cfg.API.IdempotencyRetention,
		Logger:         d.log,
		Registry:       d.registry,

		PollWithoutListen: d.cfg.Relay.PollWithoutListen,
	})
	for _, actor := range r.Actors() {
		d.addSupervised(stageRelay, actor.Name, actor.Run)
	}
	return r
}

// thisProcess has a random ID: a process ID is used again, also on one host.
func thisProcess(build Build) domain.RelayProcess {
	p := domain.RelayProcess{PID: os.Getpid(), Version: build.Version}
	p.Host, _ = os.Hostname()
	_, _ = rand.Read(p.ID[:]) // never fails
	return p
}

// The parts of the shutdown timeout that requests and running tasks get. The
// stages come one after another, so they have to leave time for each other: a
// task that does not finish is given back to its queue before the process ends.
const (
	requestShare = 0.25
	workerShare  = 0.5
)

func share(of time.Duration, part float64) time.Duration { return time.Duration(part * float64(of)) }

func (d *Daemon) addWorker() error {
	notifier, err := d.newNotifier()
	if err != nil {
		return err
	}
	worker := jobs.NewWorker(jobs.WorkerOptions{
		Redis: d.redis,
		Inbox: repository.NewInbox(d.database),

		Failures: repository.NewFailedTasks(d.database, d.cfg.Relay.Ordering == config.OrderingBlock),
		Handlers: map[string]jobs.Handler{
			domain.TypeSendNotification: jobs.SendNotification(notifier),
		},
		Concurrency:  d.cfg.Worker.Concurrency,
		Queues:       d.cfg.Worker.Queues,
		PollInterval: d.cfg.Worker.PollInterval,
		Drain:        share(d.cfg.ShutdownTimeout, workerShare),
		Logger:       d.log,
		Registry:     d.registry,
		Tracer:       d.traces.tracer("outboxd/jobs"),
	})
	d.addSupervised(stageWorker, "worker", worker.Run)
	return nil
}

func (d *Daemon) newNotifier() (domain.Notifier, error) {
	switch d.cfg.Notify {
	case config.NotifySMTP:
		c := d.cfg.SMTP
		return notify.NewSMTP(notify.SMTPOptions{
			Addr: c.Addr, TLS: c.TLS, Username: c.Username, Password: string(c.Password), From: c.From, Timeout: c.Timeout,
		}, d.log)
	case config.NotifyWebhook:
		c := d.cfg.Webhook
		n, err := notify.NewWebhook(notify.WebhookOptions{URL: string(c.URL), Secret: string(c.Secret), Timeout: c.Timeout}, d.log)
		if err == nil {
			d.undo = append(d.undo, func() { _ = n.Close() })
		}
		return n, err
	default:
		dir, err := servers.DataDir(d.cfg)
		if err != nil {
			return nil, err
		}
		return notify.NewLog(filepath.Join(dir, "mail"), d.log)
	}
}

// serve runs an HTTP listener until ctx ends, then lets the requests in flight
// finish, within patience.
func serve(app *fiber.App, listener net.Listener, patience time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		result := make(chan error, 1)
		go func() { result <- app.Listener(listener) }()
		select {
		case err := <-result:
			return fmt.Errorf("serve HTTP at %s: %w", listener.Addr(), err)
		case <-ctx.Done():
		}
		err := app.ShutdownWithTimeout(patience)
		// A shutdown that came before the server had begun to listen does
		// nothing; the closed listener then ends it.
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
