package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"

	"outboxd/repository/postgres"
)

// Network is the benchmark of a drain with both servers at a distance.
func Network() Bench {
	return Bench{
		Name:  "network",
		Short: "How fast a backlog is drained when both servers are a round trip away",
		Long: `Drains a backlog through proxies in front of PostgreSQL and Redis that deliver
every chunk of bytes half a round trip later, in order, without limiting the
bandwidth: outboxd as configured and the floor, a bare loop that does the same
work (see bench drain). The round trips that a client really saw are in the
report's environment.

The ratio "floor" is outboxd's rate divided by the floor's.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			n := &network{}
			n.add(flags)
			n.addEvents(flags, 50_000)
			flags.DurationVar(&n.rtt, "rtt", time.Millisecond, "round trip to either server")
			return n.run
		},
	}
}

type network struct {
	drainFlags
	rtt time.Duration
}

func (n *network) run(ctx context.Context, e *Env) (_ *Report, err error) {
	if err := n.apply(e); err != nil {
		return nil, err
	}
	if n.events < 1 || n.rtt < 0 {
		return nil, fmt.Errorf("--events has to be at least 1, and --rtt not negative")
	}
	report, err := e.NewReport(ctx, "network")
	if err != nil {
		return nil, err
	}
	far, closeFar, err := e.farAway(ctx, n.rtt/2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeFar()) }()
	report.Environment["events"], report.Environment["payload_bytes"] = fmt.Sprint(n.events), fmt.Sprint(n.payload)
	report.Environment["rtt"] = n.rtt.String()
	if err := far.measureDistance(ctx, report); err != nil {
		return nil, err
	}
	drain := func(do func(context.Context) (measurement, error)) func(context.Context) (measurement, error) {
		return func(ctx context.Context) (measurement, error) {
			if err := far.Load(ctx, n.events, n.payload); err != nil {
				return measurement{}, err
			}
			result, err := do(ctx)
			result.curve = nil // batches that arrive in turns, and no trend
			return result, err
		}
	}
	own := &contender{name: "outboxd", run: drain(func(ctx context.Context) (measurement, error) { return far.drainRelay(ctx, n.events) })}
	floor := &contender{name: "floor", run: drain(func(ctx context.Context) (measurement, error) { return far.drainBare(ctx, n.events, true) })}
	if err := far.interleave(ctx, n.rounds, own, floor); err != nil {
		return nil, err
	}
	report.Arms = []Arm{own.arm(), floor.arm()}
	report.Ratios["floor"] = ratio(own.rate(), floor.rate())
	return report, nil
}

// farAway is the same environment with both servers at a distance. Watching
// Redis goes on directly, so that the clock stops when the last task is there.
func (e *Env) farAway(ctx context.Context, oneWay time.Duration) (_ *Env, closeAll func() error, err error) {
	var undo []func() error
	closeAll = func() error {
		var errs []error
		for _, one := range slices.Backward(undo) {
			errs = append(errs, one())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	far := &Env{
		Redis: e.Redis, Log: e.Log, Progress: e.Progress, Config: e.Config,
		schema: e.schema, version: e.version, executable: e.executable, held: map[any]func() error{},
	}
	database, address, err := e.farPostgres(ctx, oneWay, nil)
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, database.Close)
	queue, redisURL, opt, err := farRedis(e.RedisOpt, oneWay)
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, queue.Close)
	far.DatabaseURL, far.RedisURL, far.RedisOpt = address, redisURL, opt
	pool, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, nil, fmt.Errorf("the database URL cannot be read")
	}
	pool.MaxConns = conns
	if far.Admin, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return nil, nil, fmt.Errorf("set up the pool: %w", err)
	}
	undo = append(undo, func() error { far.Admin.Close(); return nil })
	far.DB, err = postgres.Open(ctx, postgres.Options{
		URL: address, Schema: e.schema, MaxConns: max(conns, e.Config.PoolSize()), ExecMode: e.Config.Database.ExecMode,
		ConnectTimeout: 10 * time.Second, Logger: e.Log,
	})
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, func() error { far.DB.Close(); return nil })
	return far, closeAll, nil
}

// measureDistance reports the round trips that a client sees, whatever was
// asked for.
func (e *Env) measureDistance(ctx context.Context, report *Report) error {
	client, ok := e.RedisOpt.MakeRedisClient().(*redis.Client)
	if !ok {
		return fmt.Errorf("no client for the Redis URL")
	}
	defer client.Close()
	for name, ping := range map[string]func() error{
		"rtt_redis":      func() error { return client.Ping(ctx).Err() },
		"rtt_postgresql": func() error { return e.Admin.Ping(ctx) },
	} {
		took := make([]float64, 0, 21)
		for range cap(took) {
			begun := time.Now()
			if err := ping(); err != nil {
				return fmt.Errorf("measure the round trip: %w", err)
			}
			took = append(took, time.Since(begun).Seconds())
		}
		report.Environment[name] = time.Duration(Median(took) * float64(time.Second)).Round(time.Microsecond).String()
	}
	return nil
}
