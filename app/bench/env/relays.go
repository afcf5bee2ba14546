package env

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/daemon"
	"outboxd/jobs/broker"
	"outboxd/relay"
)

// NewRelay returns a relay with this configuration. The function change, if not nil, changes its
// options. The relay has a metrics registry of its own. NewRelay panics if no client of Redis can
// be made. New has made one already, so this does not happen.
func (e *Env) NewRelay(change func(*relay.Options)) *relay.Relay {
	redis, err := broker.New(e.RedisOpt, e.Config.Relay.Concurrency+2)
	if err != nil {
		panic(fmt.Sprintf("bench: no publisher for a Redis that answers: %v", err))
	}
	options := daemon.RelayOptions(e.Config, e.DB, redis, daemon.NewProcess(e.version))
	options.Logger, options.Registry = e.Log, prometheus.NewRegistry()
	// Switch off parts of the leader's periodic work, which would disturb some of the measurements.
	options.Healing, options.Archives, options.Reconciliation, options.Unfinished = nil, nil, nil, nil
	options.MaxQueue, options.Lengths = nil, nil
	if change != nil {
		change(&options)
	}
	r := relay.New(options)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[r] = redis.Close
	return r
}

// RunRelay runs the relay until stop is called or ctx ends. Call stop in either case:
// it waits for the relay, closes the relay's connections to Redis and returns the
// relay's error.
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
