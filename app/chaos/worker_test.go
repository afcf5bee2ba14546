package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/work"
	"outboxd/repository/confirm"
	"outboxd/repository/postgres"
)

// taskType is the type of most events of a run. The others are of fanType, elsewhereType or
// oddType.
const taskType = "chaos:effect"

// content is the payload of an event.
type content struct {
	Producer string `json:"producer"`
	Key      string `json:"key"` // an ordering key, or a key that only this producer uses; empty: none
	Seq      int64  `json:"seq"` // position in a key of this producer; with an ordering key, only the number of the event
}

// workerDuty is what a worker process has to know.
type workerDuty struct {
	Name, Database, Redis string
	Failing               float64 // part of the tasks that fail after their effect
}

const workerConcurrency = 10

// run works until ctx ends, with outboxd's own worker and inbox.
func (d *workerDuty) run(ctx context.Context, stderr io.Writer) error {
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	broker.BridgeLog(log)
	redis, err := broker.Open(broker.Options{URL: d.Redis}, 1)
	if err != nil {
		return err
	}
	defer redis.Close()
	db, err := postgres.Open(ctx, postgres.Options{
		URL: d.Database, MaxConns: workerConcurrency + 2, ConnectTimeout: 10 * time.Second, Logger: log,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	return work.New(work.Options{
		Redis: redis, Inbox: confirm.NewInbox(db), Handlers: map[string]work.Handler{taskType: d.effect, fanType: d.effect, oddType: nothing},
		Concurrency: workerConcurrency, Queues: map[string]int{domain.DefaultQueue: 1}, PollInterval: 10 * time.Millisecond,
		Drain: 15 * time.Second, Logger: log, Registry: prometheus.NewRegistry(),
	}).Run(ctx)
}

var errChaos = errors.New("the task fails after its effect, which is then undone")

// The statement writes an effect. seen is the number of effects that its key had before: the
// position at which this event took effect.
const effectSQL = `
INSERT INTO chaos.effects (event_id, producer, key, seq, seen)
VALUES ($1, $2, nullif($3, ''), $4, (SELECT count(*) FROM chaos.effects WHERE key = $3))`

func nothing(context.Context, domain.Effects, work.Task) error { return nil }

func (d *workerDuty) effect(ctx context.Context, tx domain.Effects, task work.Task) error {
	var c content
	if err := json.Unmarshal(task.Payload, &c); err != nil {
		return domain.Wrap(domain.CodeInvalid, err, "read the payload")
	}
	conn := confirm.TransactionOf(tx).Statement.ConnPool
	if _, err := conn.ExecContext(ctx, effectSQL, task.EventID, c.Producer, c.Key, c.Seq); err != nil {
		return fmt.Errorf("write the effect: %w", err)
	}
	if rand.Float64() < d.Failing {
		return errChaos
	}
	return nil
}
