package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs"
	"outboxd/jobs/broker"
	"outboxd/relay"
	"outboxd/repository"
)

// NewRelay returns a relay as this configuration makes it, after change (nil:
// none) had its say. It has a metrics registry of its own. It panics where the
// daemon would not start either.
func (e *Env) NewRelay(change func(*relay.Options)) *relay.Relay {
	redis, err := broker.New(e.RedisOpt, e.Config.Relay.Concurrency+2)
	if err != nil {
		panic(fmt.Sprintf("bench: no publisher for a Redis that answers: %v", err))
	}
	publisher := jobs.NewPublisher(redis)
	c := e.Config.Relay
	options := relay.Options{
		Store:          repository.NewOutbox(e.DB, repository.OutboxOptions{History: c.History > 0}),
		Publisher:      publisher,
		Presence:       repository.NewPresence(e.DB, string(c.ListenURL)),
		Housekeeping:   repository.NewHousekeeping(e.DB, string(c.ListenURL)),
		Database:       e.DB.Ping,
		Process:        benchProcess(e.version),
		Concurrency:    c.Concurrency,
		BatchSize:      c.BatchSize,
		MaxAttempts:    c.MaxAttempts,
		BackoffBase:    c.BackoffBase,
		BackoffMax:     c.BackoffMax,
		PollInterval:   c.PollInterval,
		PollMin:        c.PollMin,
		Listen:         c.Listen != config.ListenOff,
		History:        c.History,
		InboxRetention: c.InboxRetention,
		KeyRetention:   e.Config.API.IdempotencyRetention,
		Logger:         e.Log,
		Registry:       prometheus.NewRegistry(),

		PollWithoutListen: c.PollWithoutListen,
	}
	if change != nil {
		change(&options)
	}
	r := relay.New(options)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[r] = redis.Close
	return r
}

func benchProcess(version string) domain.RelayProcess {
	p := domain.RelayProcess{PID: os.Getpid(), Version: version}
	p.Host, _ = os.Hostname()
	_, _ = rand.Read(p.ID[:]) // never fails
	return p
}

// RunRelay runs the relay until stop is called, which waits for it, closes its
// connections to Redis and returns what went wrong.
func (e *Env) RunRelay(ctx context.Context, r *relay.Relay) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	actors := r.Actors()
	failures := make([]error, len(actors))
	var running sync.WaitGroup
	for i, actor := range actors {
		running.Go(func() {
			if err := actor.Run(ctx); err != nil && ctx.Err() == nil {
				failures[i] = fmt.Errorf("%s: %w", actor.Name, err)
			}
		})
	}
	return sync.OnceValue(func() error {
		cancel()
		running.Wait()
		e.mu.Lock()
		closing := e.held[r]
		delete(e.held, r)
		e.mu.Unlock()
		var closed error
		if closing != nil {
			closed = closing()
		}
		return errors.Join(errors.Join(failures...), closed)
	})
}
