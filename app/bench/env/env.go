// Package env is the environment of a benchmark: a schema and a Redis database of
// its own, the events in them, and the relays, workers and processes that are
// measured. The packages of the benchmarks decide what to
// measure and compare.
package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

// Options configure an Env. All but Executable are required.
type Options struct {
	DatabaseURL string // as configured; the schema is added
	RedisURL    string // redis://, rediss:// or redis-socket://; the number is replaced
	RedisDB     int
	Schema      string // up to 63 lower-case letters, digits and _; no digit first
	Config      *config.Config
	Version     string // of outboxd, for the report
	Log         *slog.Logger
	Progress    io.Writer
	// Executable is the command that runs outboxd, for benchmarks of whole
	// processes; empty: this process's own binary.
	Executable []string
}

// Env is the environment of a benchmark: a schema and a Redis database of its
// own.
type Env struct {
	DatabaseURL string             // with the benchmark's schema in its search path
	DB          *postgres.Database // migrated
	Admin       *pgxpool.Pool      // the same schema, for loading data and looking
	RedisURL    string             // with the benchmark's database number
	Redis       *redis.Client
	RedisOpt    asynq.RedisConnOpt
	Log         *slog.Logger
	Progress    *Progress
	Config      *config.Config // a copy, which a benchmark may change

	schema     string
	version    string
	executable []string
	owned      bool   // the schema belongs to the benchmark
	created    bool   // New created the schema
	example    string // the schema of the example, if it was made

	mu     sync.Mutex
	loaded int64                // since the last Reset
	held   map[any]func() error // connections of relays
}

// Conns is the size of the pool Env.Admin, and the minimum size of the pool Env.DB. Flags that need
// more connections are refused.
const Conns = 40

// Queue is the Asynq queue that every event of a benchmark goes to.
const Queue = domain.DefaultQueue

// New makes the schema and connects. New refuses a schema or a Redis database that
// is not empty.
func New(ctx context.Context, o Options) (_ *Env, err error) {
	if !schemaPattern.MatchString(o.Schema) {
		return nil, fmt.Errorf("%q cannot be a benchmark's schema: use up to 63 lower-case letters, digits and _ (--schema)", o.Schema)
	}
	e := &Env{
		Log: o.Log, Progress: NewProgress(o.Progress), schema: o.Schema, version: o.Version,
		executable: o.Executable, held: map[any]func() error{},
	}
	copied := *o.Config
	e.Config = &copied
	if e.DatabaseURL, err = withSchema(o.DatabaseURL, o.Schema); err != nil {
		return nil, err
	}
	if e.RedisURL, e.RedisOpt, err = withRedisDB(o.RedisURL, o.RedisDB); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close(context.WithoutCancel(ctx)))
		}
	}()
	if err := e.openRedis(ctx, o.RedisDB); err != nil {
		return nil, err
	}
	return e, e.openDatabase(ctx)
}

func (e *Env) openRedis(ctx context.Context, number int) error {
	client, ok := e.RedisOpt.MakeRedisClient().(*redis.Client)
	if !ok {
		return fmt.Errorf("no client for the Redis URL")
	}
	keys, err := client.DBSize(ctx).Result()
	if err == nil && keys > 0 {
		err = fmt.Errorf("the Redis database %d is not empty: choose another with --redis-db", number)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the benchmark's Redis database: %w", err), client.Close())
	}
	e.Redis = client
	return nil
}

// schemaSQL returns whether the schema exists, and whether it has objects that a benchmark
// would delete or conflict with.
const schemaSQL = `
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)
    OR EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1)
    OR EXISTS (SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1)`

func (e *Env) openDatabase(ctx context.Context) (err error) {
	if e.Admin, err = Pool(ctx, e.DatabaseURL, Conns); err != nil {
		return err
	}
	var exists, used bool
	if err := e.Admin.QueryRow(ctx, schemaSQL, e.schema).Scan(&exists, &used); err != nil {
		return fmt.Errorf("look at the schema %s: %w", e.schema, err)
	}
	if used {
		return fmt.Errorf("the schema %s is not empty: choose another with --schema, or drop it if a benchmark that was killed left it", e.schema)
	}
	if !exists {
		if _, err := e.Admin.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{e.schema}.Sanitize()); err != nil {
			return fmt.Errorf("make the schema %s: %w", e.schema, err)
		}
	}
	e.owned, e.created = true, !exists
	if e.DB, err = e.open(ctx, e.poolSize()); err != nil {
		return err
	}
	if _, err := migrations.Core().Up(ctx, e.DB.SQL(), e.Log); err != nil {
		return err
	}
	if limit := int(e.Config.Relay.MaxPayload); limit > 0 {
		if _, err := migrations.LimitPayload(ctx, e.DB.SQL(), limit, e.Log); err != nil {
			return err
		}
	}
	// Make the partitions now: otherwise the leader would make them during the
	// first measurement.
	return upkeep.NewHousekeeping(e.DB, "").KeepPartitions(ctx, max(e.Config.Relay.History, 24*time.Hour))
}

// Pool connects to a database as a benchmark's own clients do.
func Pool(ctx context.Context, address string, conns int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, errors.New("the database URL cannot be read")
	}
	config.MaxConns = conns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("set up the pool: %w", err)
	}
	return pool, nil
}

func (e *Env) poolSize() int { return max(Conns, e.Config.PoolSize()) }

// open connects as outboxd does.
func (e *Env) open(ctx context.Context, conns int) (*postgres.Database, error) {
	return postgres.Open(ctx, postgres.Options{
		URL: e.DatabaseURL, Schema: e.schema, MaxConns: conns, ExecMode: e.Config.Database.ExecMode,
		ConnectTimeout: 10 * time.Second, Logger: e.Log,
	})
}

// Through returns the same environment, but its relays and workers, and its pool Admin,
// reach the servers through other addresses. Only the client Env.Redis, with which the
// benchmark polls, stays connected directly, so that the clock stops when the last task
// arrives. The returned function closes the connections; call it after the relays have
// stopped.
func (e *Env) Through(ctx context.Context, databaseURL, redisURL string, redis asynq.RedisConnOpt) (_ *Env, closeAll func(), err error) {
	return e.through(ctx, databaseURL, redisURL, redis, e.poolSize())
}

// WithPool returns the same environment with at least conns connections in the pool of
// its relays and workers. The returned function closes the connections; call it after the
// relays have stopped.
func (e *Env) WithPool(ctx context.Context, conns int) (_ *Env, closeAll func(), err error) {
	return e.through(ctx, e.DatabaseURL, e.RedisURL, e.RedisOpt, max(conns, e.poolSize()))
}

func (e *Env) through(ctx context.Context, databaseURL, redisURL string, redis asynq.RedisConnOpt, conns int) (_ *Env, closeAll func(), err error) {
	far := &Env{
		Redis: e.Redis, Log: e.Log, Progress: e.Progress, Config: e.Config, DatabaseURL: databaseURL, RedisURL: redisURL, RedisOpt: redis,
		schema: e.schema, version: e.version, executable: e.executable, held: map[any]func() error{},
	}
	if far.Admin, err = Pool(ctx, databaseURL, Conns); err != nil {
		return nil, nil, err
	}
	if far.DB, err = far.open(ctx, conns); err != nil {
		far.Admin.Close()
		return nil, nil, err
	}
	return far, func() { far.DB.Close(); far.Admin.Close() }, nil
}

// Close removes everything that New and the benchmark made. Relays must have
// stopped.
func (e *Env) Close(ctx context.Context) error {
	var errs []error
	for _, closeOne := range e.held {
		errs = append(errs, closeOne())
	}
	if e.DB != nil {
		e.DB.Close()
	}
	if e.owned {
		errs = append(errs, e.dropExample(ctx), e.dropSchema(ctx))
	}
	if e.Admin != nil {
		e.Admin.Close()
	}
	if e.Redis != nil {
		errs = append(errs, e.Redis.FlushDB(ctx).Err(), e.Redis.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up after the benchmark: %w", err)
	}
	return nil
}

func (e *Env) dropSchema(ctx context.Context) error {
	name := pgx.Identifier{e.schema}.Sanitize()
	if _, err := e.Admin.Exec(ctx, "DROP SCHEMA "+name+" CASCADE"); err != nil || e.created {
		return err
	}
	_, err := e.Admin.Exec(ctx, "CREATE SCHEMA "+name)
	return err
}

// NewRedisClient returns a new client of the benchmark's Redis, so that each arm
// can have its own.
func (e *Env) NewRedisClient() (redis.UniversalClient, error) {
	client, ok := e.RedisOpt.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		return nil, fmt.Errorf("no client for the Redis URL")
	}
	return client, nil
}
