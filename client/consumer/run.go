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
	"outboxd/client/presence"
	"outboxd/client/spare"
)

// Run runs an Asynq server for the queues of config until ctx ends. Then Run lets
// the running tasks finish, within config.ShutdownTimeout. If Redis cannot be
// reached at the start, Run logs that once to config.Logger (nil: slog.Default())
// and waits.
//
// Three things are better than with plain Asynq. The worker takes and finishes tasks in few round
// trips; see package pipeline. outboxd's relay tells idle workers about new tasks, so that they begin
// at once. About every config.TaskCheckInterval (0: a second; at most 10 seconds) the worker also
// polls for tasks that nobody announced. Errors for which this package's IsFailure is false never
// cost an attempt, not even the last one.
//
// Run shows the version of the program in Redis, so that outboxd's pages and commands can list it;
// see Version.
//
// If Run cannot start for a reason that it knows, the error says what to change. For example, Redis
// may refuse the password, the database number or a command, or a host name may not exist. For
// PostgreSQL, call Consumer.Check. Run also returns an error if the server has not stopped 15
// seconds after config.ShutdownTimeout. Goroutines of the server then still run, so end the process.
func Run(ctx context.Context, connect asynq.RedisConnOpt, config asynq.Config, handler asynq.Handler, options ...RunOption) error {
	if err := checkConfig(config, handler); err != nil {
		return err
	}
	client, ok := connect.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		return fmt.Errorf("no Redis client can be made of a %T", connect)
	}
	direct, stuck := pipeline.Direct(client), false
	defer func() {
		if stuck { // see pipeline.Client.End
			return
		}
		_ = client.Close()
		if direct != client {
			_ = direct.Close()
		}
	}()
	if err := awaitRedis(ctx, client, config.Logger); err != nil || ctx.Err() != nil {
		return err
	}
	every := config.TaskCheckInterval
	tasks := &spare.Tasks{}
	config = completed(ctx, config, tasks)
	piped := pipeline.New(ctx, pipeline.Options{
		Redis: client, Direct: direct, Every: every,
		Concurrency: config.Concurrency, Queues: config.Queues, StrictPriority: config.StrictPriority, Spared: tasks,
	})
	config.IsFailure = piped.IsFailure(config.IsFailure)
	server := asynq.NewServerFromRedisClient(piped, config)
	if err := server.Start(handler); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	var beside sync.WaitGroup
	// Ignore errors of the bell: a Redis user who may not subscribe finds tasks by
	// polling.
	beside.Go(func() { piped.Bell().Listen(ctx, client, func(error) {}) })
	beside.Go(func() { presence.ShowVersion(ctx, client, versionIn(options)) })
	<-ctx.Done()
	if err := piped.End(server, config.ShutdownTimeout); err != nil {
		stuck = true
		return err
	}
	beside.Wait()
	return nil
}

// server has what handlers need to know about the Asynq server that Run started.
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
			// Asynq rounds retries to whole seconds. The random part spreads the
			// tasks over time.
			return time.Second + rand.N(2*time.Second)
		case delay != nil:
			return delay(n, err, task)
		default:
			return asynq.DefaultRetryDelayFunc(n, err, task)
		}
	}
	return config
}
