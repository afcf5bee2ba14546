package work

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// watcher reports in the log and the metrics the queues whose first task has a type for which this worker has no
// handler.
type watcher struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	blocked *prometheus.GaugeVec // by queue
}

func (w *watcher) Blocked(queue string, blocked bool) {
	value := 0.0
	if blocked {
		value = 1
	}
	w.blocked.WithLabelValues(queue).Set(value)
}

func (w *watcher) Unknown(queue, taskType string) {
	w.log.Info("tasks of a type without a handler stay in the queue, for a worker that has one", "queue", queue, "task_type", taskType)
}

// Left is called when the first task of a queue has stayed there because no worker takes its type. Left logs that,
// and records the task in Redis for outboxd doctor. If Left returns false, the record was not written, and the
// caller tries again later.
func (w *watcher) Left(queue, taskType, taskID string, since time.Time) bool {
	w.log.Warn("a task stands at the head of a queue, this worker has no handler for its type, and no other worker takes it: start one that does, or serve other queues with this one",
		"queue", queue, "task_type", taskType, "task_id", taskID, "for", time.Since(since).Round(time.Second))
	return broker.MarkLeft(context.Background(), w.redis, queue, taskID, since) == nil
}
