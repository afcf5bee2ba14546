package env

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/config"
	"outboxd/jobs/broker"
	"outboxd/jobs/work"
	"outboxd/repository/confirm"
)

// RunWorker runs a worker with this configuration, for events of one type, until stop is called.
// stop waits for the worker.
func (e *Env) RunWorker(ctx context.Context, eventType string, handler work.Handler) (stop func() error) {
	return e.RunWorkerWith(ctx, func(o *work.Options) { o.Handlers = map[string]work.Handler{eventType: handler} })
}

// Tasks returns how many tasks a worker with this configuration runs at once, if its handlers have a
// transaction for each event.
func (e *Env) Tasks() int { return e.Process(config.Handlers{Transactions: true}).Sizes().Tasks }

// Process returns the configuration of a process with all roles, and with these handlers. A benchmark's own
// configuration lacks the role worker, without which there are no tasks. The caller may change what Process returns.
func (e *Env) Process(h config.Handlers) *config.Config {
	c := *e.Config
	c.Roles = config.AllRoles()
	c.Serve(h)
	return &c
}

// RunWorkerWith does the same as RunWorker, but the function change sets the worker's options,
// for example the handlers.
func (e *Env) RunWorkerWith(ctx context.Context, change func(*work.Options)) (stop func() error) {
	queues := maps.Clone(map[string]int(e.Config.Worker.Queues))
	if queues[Queue] == 0 {
		queues = map[string]int{Queue: 1}
	}
	redis, err := broker.New(e.RedisOpt, 1)
	if err != nil {
		return func() error { return err }
	}
	options := work.Options{
		Redis:        redis,
		Inbox:        confirm.NewInbox(e.DB),
		Concurrency:  e.Tasks(),
		Queues:       queues,
		PollInterval: e.Config.Worker.PollInterval,
		Drain:        10 * time.Second,
		Logger:       e.Log,
		Registry:     prometheus.NewRegistry(),
	}
	change(&options)
	worker := work.New(options)
	working, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() { result <- worker.Run(working) }()
	return func() error {
		cancel()
		return errors.Join(<-result, redis.Close())
	}
}
