package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/client/pipeline"
	"outboxd/client/spare"
)

// Run serves the queues of config with Asynq's server until ctx ends, and then
// lets the running tasks finish, within config.ShutdownTimeout. It waits for a
// Redis that cannot be reached at first, and logs that once to config.Logger.
//
// Unlike with plain Asynq, outboxd's relay tells an idle worker about new tasks,
// so that it begins at once. config.TaskCheckInterval, a second if it is zero,
// is how often it also looks by itself, for retries. Errors for which IsFailure
// is false cost no attempt, not even the last one.
//
// An error says what to change before the worker can start: Redis refuses the
// password, the database or a command, or a host name does not exist.
// Consumer.Check does the same for the database.
func Run(ctx context.Context, connect asynq.RedisConnOpt, config asynq.Config, handler asynq.Handler) error {
	if err := checkConfig(config, handler); err != nil {
		return err
	}
	client, ok := connect.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		return fmt.Errorf("no Redis client can be made of a %T", connect)
	}
	defer func() { _ = client.Close() }()
	if err := awaitRedis(ctx, client, config.Logger); err != nil || ctx.Err() != nil {
		return err
	}
	direct := pipeline.Direct(client)
	if direct != client {
		defer func() { _ = direct.Close() }()
	}
	every := config.TaskCheckInterval
	tasks := &spare.Tasks{}
	config = completed(ctx, config, tasks)
	piped := pipeline.New(ctx, pipeline.Options{
		Redis: client, Direct: direct, Every: every,
		Concurrency: config.Concurrency, Queues: config.Queues, StrictPriority: config.StrictPriority, Spared: tasks,
	})
	server := asynq.NewServerFromRedisClient(piped, config)
	if err := server.Start(handler); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	var beside sync.WaitGroup
	// A user without the right to subscribe finds tasks by polling.
	beside.Go(func() { piped.Bell().Listen(ctx, client, func(error) {}) })
	<-ctx.Done()
	piped.Release()
	server.Shutdown()
	beside.Wait()
	return nil
}

// server has the facts that handlers use of a server started by Run.
type server struct {
	spared  *spare.Tasks    // tasks that must not be archived on their last attempt
	places  int             // tasks at the same time
	running context.Context //nolint:containedctx // ends when the server takes no more tasks
}

type serverKey struct{}

func completed(running context.Context, config asynq.Config, tasks *spare.Tasks) asynq.Config {
	config.TaskCheckInterval = bell.Pause
	if config.DelayedTaskCheckInterval <= 0 {
		config.DelayedTaskCheckInterval = time.Second
	}
	places, base := config.Concurrency, config.BaseContext
	if places <= 0 {
		places = runtime.NumCPU() // as Asynq
	}
	own := &server{spared: tasks, places: places, running: running}
	config.BaseContext = func() context.Context {
		ctx := context.Background()
		if base != nil {
			ctx = base()
		}
		return context.WithValue(ctx, serverKey{}, own)
	}
	isFailure, delay := config.IsFailure, config.RetryDelayFunc
	config.IsFailure = func(err error) bool { return IsFailure(err) && (isFailure == nil || isFailure(err)) }
	config.RetryDelayFunc = func(n int, err error, task *asynq.Task) time.Duration {
		switch {
		case errors.Is(err, ErrNotTried):
			return untriedDelay()
		case errors.Is(err, ErrTooEarly), errors.Is(err, ErrUnacknowledged):
			// Asynq counts in seconds. The random part spreads the tasks.
			return time.Second + rand.N(2*time.Second)
		case delay != nil:
			return delay(n, err, task)
		default:
			return asynq.DefaultRetryDelayFunc(n, err, task)
		}
	}
	return config
}
