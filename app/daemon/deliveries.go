package daemon

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/setup"
	"outboxd/domain/words"
	"outboxd/jobs/deliver"
	"outboxd/jobs/inspect"
	"outboxd/jobs/work"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/subscriptions"
)

// deliveries runs one worker for each active subscription, so that a slow receiver does not
// take capacity from others. All workers share the connections of one bound. No worker holds
// a connection while it waits for a receiver. deliveries starts and stops workers as
// subscriptions change.
type deliveries struct {
	store   *subscriptions.Store
	bound   *repository.Bound // of the connections of all deliveries
	log     *slog.Logger
	every   time.Duration // between two readings of the subscriptions
	options func(s *setup.Subscription) (options work.Options, receiver *deliver.Receiver, closed func())
	metrics *deliver.Metrics
	look    chan struct{} // a value makes run read the subscriptions at once
	hears   func() bool   // whether PostgreSQL notifies this process of changed subscriptions
	lengths domain.QueueLengths

	unreadable bool // the log has reported that the subscriptions cannot be read

	mu      sync.Mutex
	running map[string]*delivering // by name
}

// delivering is the running worker of one subscription.
type delivering struct {
	is       setup.Subscription
	receiver *deliver.Receiver
	said     time.Time // when the database was last told that the receiver is down; zero if the database has no such report
	hangs    func() error
	forget   func() // removes the worker's time series
	cancel   context.CancelFunc
	done     chan struct{}
	err      error // with which the worker ended; set before done is closed
}

// addDeliveries adds the actor that runs the workers of subscriptions. It is part
// of the role worker.
func (d *Daemon) addDeliveries() error {
	options, err := SenderOptions(d.cfg)
	if err != nil {
		return err
	}
	// No delivery holds a connection while it waits for its receiver, so the record of failed
	// tasks needs no connections of its own.
	conns := d.connectionsFor(d.sizes.DeliveryConns, 0)
	f := &deliveries{
		store: subscriptions.New(d.one.database), bound: conns.bound, log: d.log.With("component", "deliveries"), every: d.cfg.Deliver.CheckInterval,
		metrics: deliver.NewMetrics(d.registry), look: make(chan struct{}, 1), hears: func() bool { return d.one.relay != nil && d.one.relay.Hears() },
		lengths: inspect.NewOverviews(d.redis), running: map[string]*delivering{},
	}
	f.options = func(s *setup.Subscription) (work.Options, *deliver.Receiver, func()) {
		own := options
		own.Connections = s.Concurrency
		sender := deliver.NewSender(own)
		receiver := deliver.NewReceiver(sender, deliver.ReceiverOptions{Target: deliver.TargetOf(s), Rate: s.Rate})
		return work.Options{
			Redis: d.redis, Inbox: conns.inbox, Failures: conns.failures,
			Any: deliver.Handler(deliver.HandlerOptions{
				Subscription: *s, Receiver: receiver, Pauser: pauser{f}, Journal: confirm.NewDeliveryJournal(d.one.database), Metrics: f.metrics,
				Actor: "outboxd worker at " + d.process.Host, Logger: f.log,
			}),
			Name: s.Queue(), Gate: receiver, Concurrency: s.Concurrency, Queues: map[string]int{s.Queue(): 1},
			PollInterval: d.cfg.Worker.PollInterval, Drain: share(d.cfg.ShutdownTimeout, workerShare),
			Logger: d.log, Registry: d.registry, Version: d.build.Version, Tracer: d.traces.Tracer("outboxd/jobs"),
		}, receiver, sender.Close
	}
	d.deliveries, d.hangs = f, append(d.hangs, f.hang)
	d.addSupervised(stageWorker, "deliveries", f.run)
	return nil
}

// SenderOptions returns the options for sending deliveries to receivers, from the
// configuration.
func SenderOptions(cfg *config.Config) (deliver.SenderOptions, error) {
	options := deliver.SenderOptions{Guard: deliver.NewGuard(cfg.Deliver.Allow...), Source: cfg.Deliver.Source}
	if cfg.Deliver.Proxy != "" {
		proxy, err := url.Parse(string(cfg.Deliver.Proxy))
		if err != nil {
			return options, domain.Errorf(domain.CodeInvalid, "--deliver-proxy is no URL")
		}
		options.Proxy = proxy
	}
	return options, nil
}

// pauser pauses a subscription, and then makes deliveries.run read the subscriptions at
// once, so that run stops the worker.
type pauser struct{ f *deliveries }

// PauseReceiver implements deliver.Pauser.
func (p pauser) PauseReceiver(ctx context.Context, action *domain.Action, of *setup.Subscription) (paused bool, err error) {
	err = p.f.bound.Within(ctx, "pause a subscription", func() (err error) {
		paused, err = p.f.store.PauseReceiver(ctx, action, of)
		return err
	})
	p.f.lookNow()
	return paused, err
}

func (f *deliveries) lookNow() {
	select {
	case f.look <- struct{}{}:
	default:
	}
}

// run starts and stops workers as subscriptions change, until ctx ends. Then it stops all
// workers, waits until they have ended, and returns the error of one that could not finish
// its work. While the database cannot be reached, it starts and stops no workers.
func (f *deliveries) run(ctx context.Context) (err error) {
	defer func() { err = f.stopAll() }()
	for {
		list, err := f.store.List(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.unread(ctx, err)
		default:
			f.unreadable = false
			f.adjust(ctx, list)
		}
		f.observe(ctx)
		timer := time.NewTimer(f.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-f.look:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// heardEvery is the shortest pause between two readings of the subscriptions while no
// worker runs and PostgreSQL notifies this process of changes. A notification ends the
// pause.
const heardEvery = time.Minute

// pause returns how long run waits at most before it reads the subscriptions again.
func (f *deliveries) pause() time.Duration {
	f.mu.Lock()
	idle := len(f.running) == 0
	f.mu.Unlock()
	if idle && f.hears() {
		return max(f.every, heardEvery)
	}
	return f.every
}

// subscriptionsChanged makes deliveries.run read the subscriptions at once, if this process
// has the role worker.
func (d *Daemon) subscriptionsChanged() {
	if d.deliveries != nil {
		d.deliveries.lookNow()
	}
}

// unread logs that the subscriptions cannot be read: the first time at level warn, then at
// level debug until they can be read. Other parts report an outage of the database, so it
// is logged only at level debug, unless it is a known finding.
func (f *deliveries) unread(ctx context.Context, err error) {
	level := slog.LevelWarn
	if _, known := domain.FindingOf(err); f.unreadable || domain.ErrorCode(err) == domain.CodeUnavailable && !known {
		level = slog.LevelDebug
	} else {
		f.unreadable = true
	}
	f.log.Log(ctx, level, "could not read the subscriptions; deliveries go on with those that were read last", "error", err)
}

// adjust stops the workers of subscriptions that are paused, removed or changed,
// and starts a worker for every active subscription that has none. If a
// subscription has changed, its new worker starts after its old worker has ended.
func (f *deliveries) adjust(ctx context.Context, list []setup.Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := map[string]*setup.Subscription{}
	for i := range list {
		if s := &list[i]; s.Paused == nil && s.RemovedAt.IsZero() {
			wanted[s.Name] = s
		}
	}
	for name, r := range f.running {
		select {
		case <-r.done:
			if r.err != nil {
				f.log.ErrorContext(ctx, "the worker of a subscription failed; while the subscription is active, a new worker is started", "subscription", name, "error", r.err)
			}
			delete(f.running, name)
			if wanted[name] == nil {
				f.metrics.Forget(name)
				r.forget()
			}
			continue
		default:
		}
		if s := wanted[name]; s == nil || s.ID != r.is.ID || !s.ChangedAt.Equal(r.is.ChangedAt) {
			r.cancel()
		}
	}
	for name, s := range wanted {
		if f.running[name] == nil {
			f.start(ctx, s)
		}
	}
}

func (f *deliveries) start(ctx context.Context, s *setup.Subscription) {
	options, receiver, closeSender := f.options(s)
	ctx, cancel := context.WithCancel(ctx)
	r := &delivering{is: *s, receiver: receiver, cancel: cancel, done: make(chan struct{})}
	f.running[s.Name] = r
	name, worker := fmt.Sprintf("deliveries to %s", s.Name), work.New(options)
	r.hangs, r.forget = worker.Hangs, worker.Forget
	go func() {
		defer f.lookNow()
		defer close(r.done)
		defer cancel()
		defer closeSender()
		r.err = supervise(ctx, name, f.log, worker.Run)
	}()
}

// hang returns the error of a worker that hangs; nil if none hangs.
func (f *deliveries) hang() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, r := range f.running {
		if err := r.hangs(); err != nil {
			return fmt.Errorf("deliveries to %s: %w", name, err)
		}
	}
	return nil
}

// stopAll stops all workers and waits until they have finished. It returns the first error
// with which one of them ended. stopAll does not hold the lock while it waits, because the
// monitor calls findings while the process drains.
func (f *deliveries) stopAll() (err error) {
	f.mu.Lock()
	stopping := slices.Collect(maps.Values(f.running))
	clear(f.running)
	f.mu.Unlock()
	for _, r := range stopping {
		r.cancel()
	}
	for _, r := range stopping {
		<-r.done
		err = cmp.Or(err, r.err)
	}
	return err
}

// observe reports which receivers are down, in the metrics of this process and in
// the database. The command doctor and the pages of other processes read the report
// from the database.
func (f *deliveries) observe(ctx context.Context) {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.running))
	f.mu.Unlock()
	for _, r := range all {
		f.relieve(ctx, r)
	}
	f.mu.Lock()
	for name, r := range f.running {
		f.metrics.Down(name, r.receiver.Condition().Down)
	}
	f.mu.Unlock()
	for _, r := range all {
		if err := f.tell(ctx, r); err != nil && ctx.Err() == nil {
			f.log.DebugContext(ctx, "could not record whether a receiver is down", "subscription", r.is.Name, "error", err)
			return // the database cannot be reached, which other parts report
		}
	}
}

// A receiver that is down is no longer reported if its last attempt is older than quietAfter
// and its queue is empty. lengthPatience limits the question whether the queue is empty.
const (
	quietAfter     = 5 * time.Minute
	lengthPatience = 5 * time.Second
)

// relieve lets a receiver no longer count as down if nothing is left to deliver to it. Its
// deliveries may have been cancelled or discarded, or another process may have sent them.
func (f *deliveries) relieve(ctx context.Context, r *delivering) {
	if c := r.receiver.Condition(); !c.Down || time.Since(c.Tried) < quietAfter {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lengthPatience)
	defer cancel()
	queue := r.is.Queue()
	lengths, err := f.lengths.Lengths(ctx, []string{queue})
	if n, known := lengths[queue]; err == nil && known && n == 0 {
		r.receiver.CountAsUp(quietAfter)
	}
}

// downHolds is how long a report that a receiver is down stays valid in the
// database, at least. The report has to expire, because a worker that has ended
// cannot withdraw it.
const downHolds = 30 * time.Second

// tell writes the report that a receiver is down to the database, and renews the report
// before it expires. When the receiver works again, the report is deleted. Only the loop in
// the method run calls this method.
func (f *deliveries) tell(ctx context.Context, r *delivering) (err error) {
	holds := downHolds + 2*f.every
	switch c := r.receiver.Condition(); {
	case c.Down && time.Since(r.said) > holds/3:
		if err = f.store.Down(ctx, &r.is, time.Since(c.Since), c.LastFailure, holds); err == nil {
			r.said = time.Now()
		}
	case !c.Down && !r.said.IsZero():
		if err = f.store.Up(ctx, &r.is); err == nil {
			r.said = time.Time{}
		}
	}
	return err
}

// findings returns one finding about all receivers that are down; no finding if no
// receiver is down.
func (f *deliveries) findings() []domain.Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	var down []string
	var last string
	for name, r := range f.running {
		if c := r.receiver.Condition(); c.Down {
			down = append(down, fmt.Sprintf("%s for %s", name, words.Duration(time.Since(c.Since))))
			last = c.LastFailure
		}
	}
	slices.Sort(down)
	return diagnosis.ReceiversDown(down, last)
}
