package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/app/faulttest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
	"outboxd/jobs/broker"
)

// Servers are what a run may break. PostgreSQL and Redis are only for this run, and empty at its
// beginning. What a profile does not break may be nil.
type Servers struct {
	Database, Redis               string // addresses for the processes
	AdminDatabase, AdminRedis     string // addresses that no fault is on the way to
	Postgres                      *postgrestest.Server
	RedisServer                   redisServer
	PostgresNetwork, RedisNetwork *faulttest.Proxy // nil: there is nothing in between
	PostgresDisk                  *postgrestest.Disk
	PostgresClock                 *postgrestest.Clock
	Cluster                       *redistest.Cluster // instead of RedisServer; nil: Redis is no cluster
}

// Server is a server that can be ended as if it had crashed. What it has on disk is
// kept.
type Server interface {
	Stop()
	Start()
}

// redisServer is a Redis that can be stopped as PostgreSQL is.
type redisServer struct{ *redistest.Server }

func (s redisServer) Stop() { s.Kill() }

// clusterNode is a node of a Redis Cluster. It keeps nothing on disk.
type clusterNode struct{ *redistest.Program }

func (s clusterNode) Stop() { s.Kill() }

// directly returns servers without a network that could be broken.
func directly(postgres *postgrestest.Server, redis *redistest.Server) Servers {
	return Servers{
		Database: postgres.URL(), AdminDatabase: postgres.URL(), Redis: redis.URL(), AdminRedis: redis.URL(),
		Postgres: postgres, RedisServer: redisServer{redis},
	}
}

// viaNetwork returns the same servers, reached through proxies.
func viaNetwork(t *testing.T, s Servers) Servers {
	t.Helper()
	database, redis := faulttest.NewProxy(t, s.AdminDatabase), faulttest.NewProxy(t, s.AdminRedis)
	s.Database, s.PostgresNetwork = database.URL(), database
	s.Redis, s.RedisNetwork = redis.URL(), redis
	return s
}

// application names the harness's own connections, which the fault Terminate spares.
const application = "chaos"

// schema is outboxd's default schema.
const schema = "outboxd"

// open connects the harness.
func (s Servers) open(ctx context.Context) (*pgxpool.Pool, *broker.Redis, error) {
	config, err := pgxpool.ParseConfig(s.AdminDatabase)
	if err != nil {
		return nil, nil, fmt.Errorf("read the database address: %w", err)
	}
	config.MaxConns = 4
	config.ConnConfig.RuntimeParams["application_name"] = application
	config.ConnConfig.RuntimeParams["search_path"] = schema
	admin, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("set up the harness's pool: %w", err)
	}
	handle, err := broker.Open(broker.Options{URL: s.AdminRedis}, 4)
	if err != nil {
		admin.Close()
		return nil, nil, err
	}
	return admin, handle, nil
}

// patiently calls the function work until that succeeds, because servers may be away for a
// while. It gives up after a minute.
func patiently(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := work(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause := time.NewTimer(50*time.Millisecond + rand.N(50*time.Millisecond))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

// The statement terminates up to $4 backends that are not the harness's. The fault's number $3
// decides which. If $2, backends in a transaction come before all others.
const terminateSQL = `
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> $1
    ORDER BY $2 AND xact_start IS NULL, md5(pid::text || $3::text)
    LIMIT $4
) AS chosen`

func terminate(ctx context.Context, admin *pgxpool.Pool, busy bool, target uint64, limit int) (n int, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		rows, err := admin.Query(ctx, terminateSQL, application, busy, fmt.Sprint(target), limit)
		if err != nil {
			return err
		}
		n, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("terminate backends: %w", err)
	}
	return n, nil
}
