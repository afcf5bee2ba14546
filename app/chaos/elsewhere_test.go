package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/client/consumer"
)

// The events of a consumer with another database: their type, their queue, and the
// suffix of their ordering keys, so that no other events have these keys.
const (
	elsewhereType     = "chaos:elsewhere"
	elsewhereQueue    = "elsewhere"
	elsewhereKey      = " elsewhere"
	elsewhereDatabase = "elsewhere"
)

const elsewhereSQL = `
CREATE SCHEMA chaos AUTHORIZATION ` + fleetUser + `;
CREATE TABLE chaos.effects (
    event_id uuid        NOT NULL,
    key      text,
    seen     bigint      NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON chaos.effects (key);
GRANT ALL ON ALL TABLES IN SCHEMA chaos TO ` + fleetUser

// openElsewhere makes the other database, on the same server.
func (r *run) openElsewhere(ctx context.Context) error {
	if _, err := r.admin.Exec(ctx, "CREATE DATABASE "+elsewhereDatabase); err != nil {
		return fmt.Errorf("make the other database: %w", err)
	}
	config := r.admin.Config().Copy()
	config.ConnConfig.Database = elsewhereDatabase
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("open the other database: %w", err)
	}
	r.elsewhere = pool
	if _, err := pool.Exec(ctx, elsewhereSQL); err != nil {
		return fmt.Errorf("make the other database: %w", err)
	}
	return nil
}

// elsewhereURL returns the address of the other database.
func elsewhereURL(database string) string {
	address, err := url.Parse(database)
	if err != nil {
		return database // asFleet has read it
	}
	address.Path = "/" + elsewhereDatabase
	return address.String()
}

// redisOption reads the address of Redis for Asynq, which knows no URL of a cluster.
func redisOption(address string) (asynq.RedisConnOpt, error) {
	if nodes, is := strings.CutPrefix(address, "redis-cluster://"); is {
		return asynq.RedisClusterClientOpt{Addrs: strings.Split(nodes, ",")}, nil
	}
	option, err := asynq.ParseRedisURI(address)
	if err != nil {
		return nil, fmt.Errorf("read the Redis address: %w", err)
	}
	return option, nil
}

// consumerDuty is what a consumer process has to know. The consumer writes its effects
// and its inbox into the database elsewhere.
type consumerDuty struct {
	Database, Redis string
	Failing         float64 // part of the tasks that fail after their effect
}

const elsewhereEffectSQL = `
INSERT INTO chaos.effects (event_id, key, seen)
VALUES ($1, nullif($2, ''), (SELECT count(*) FROM chaos.effects WHERE key = $2))`

// run consumes until ctx ends, with package client/consumer, as a service outside this
// repository does.
func (d *consumerDuty) run(ctx context.Context, _ io.Writer) error {
	db, err := sql.Open("pgx", d.Database+"&connect_timeout=5&application_name=consumer")
	if err != nil {
		return fmt.Errorf("open the consumer's database: %w", err)
	}
	defer func() { _ = db.Close() }()
	redis, err := redisOption(d.Redis)
	if err != nil {
		return err
	}
	c, err := consumer.NewRemote(consumer.SQL(db), redis, consumer.Options{Schema: "chaos"})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for ctx.Err() == nil && c.CreateInbox(ctx) != nil {
		calm(ctx)
	}
	mux := asynq.NewServeMux()
	mux.Handle(elsewhereType, consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, content content) error {
		if _, err := tx.ExecContext(ctx, elsewhereEffectSQL, consumer.EventOf(ctx).ID.String(), content.Key); err != nil {
			return fmt.Errorf("write the effect: %w", err)
		}
		if rand.Float64() < d.Failing {
			return errChaos
		}
		return nil
	}))
	return consumer.Run(ctx, redis, asynq.Config{
		Concurrency: workerConcurrency, Queues: map[string]int{elsewhereQueue: 1}, TaskCheckInterval: 10 * time.Millisecond,
		LogLevel: asynq.FatalLevel, ShutdownTimeout: 15 * time.Second,
	}, mux)
}
