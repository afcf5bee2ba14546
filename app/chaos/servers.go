package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"outboxd/jobs/broker"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// Servers are what a run may break. PostgreSQL and Redis belong to it alone, and
// are empty. What a profile does not break may be nil.
type Servers struct {
	Database, Redis               string // addresses for the processes
	AdminDatabase, AdminRedis     string // addresses that no fault is on the way to
	Postgres                      Server
	RedisServer                   Memory
	PostgresNetwork, RedisNetwork Network // nil: there is nothing in between
	PostgresDisk                  Disk
	PostgresClock                 Clock
}

// Server is a server that can be ended as if it had crashed, with its data
// kept.
type Server interface {
	Stop()
	Start()
}

// Memory is a server whose data can get lost.
type Memory interface {
	Server
	// Forget loses all data: at once, or of a server that is stopped before it
	// starts again.
	Forget()
}

// Network is what lies between processes and a server.
type Network interface {
	// Break drops, or with hold stops forwarding, the next connection that
	// gets to a position in an exchange, after skip requests. mend ends a hold;
	// it returns whether any connection was hit.
	Break(at Position, skip int, hold bool) (mend func() bool)
	// Stall stops forwarding on all connections until Resume.
	Stall()
	Resume()
}

// Disk is what a server keeps all its data on.
type Disk interface {
	// Fill leaves no room, which may end the server. Free gives it back, and
	// returns when the server answers.
	Fill()
	Free()
}

// Clock is what a server takes for the time.
type Clock interface {
	// Step sets the clock to the machine's and so many seconds more, or less.
	Step(by time.Duration)
}

// application names the harness's own connections, which no fault touches.
const application = "chaos"

// open connects the harness.
func (s Servers) open(ctx context.Context) (*pgxpool.Pool, redis.UniversalClient, error) {
	config, err := pgxpool.ParseConfig(s.AdminDatabase)
	if err != nil {
		return nil, nil, fmt.Errorf("read the database address: %w", err)
	}
	config.MaxConns = 4
	config.ConnConfig.RuntimeParams["application_name"] = application
	admin, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("set up the harness's pool: %w", err)
	}
	handle, err := broker.Open(s.AdminRedis, 4)
	if err != nil {
		admin.Close()
		return nil, nil, err
	}
	return admin, handle.Client(), nil
}

// patiently repeats what fails because a server has just been restarted.
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

// Those of outboxd's and the producers' backends that come first by a number of
// the fault's; with busy, backends in a transaction come before all others.
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
