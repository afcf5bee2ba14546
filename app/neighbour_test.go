package app_test

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/config"
	"outboxd/domain/registration"
)

// TestBesideAnOrdinaryWorker relays for another application's Asynq worker,
// which knows nothing of outboxd, while outboxd's own worker runs too.
func TestBesideAnOrdinaryWorker(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags     []string
		neighbour asynq.Config
	}{
		"by default":              {nil, asynq.Config{}},
		"told to serve the queue": {[]string{"--worker-queues=notifications=1,default=100"}, asynq.Config{}},
		"told to, beside strict priority": {
			[]string{"--worker-queues=notifications=1,default=100,low=100"},
			asynq.Config{Queues: map[string]int{"default": 3, "low": 1}, StrictPriority: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
			p := start(t, append(on(databaseURL, redisURL, t.TempDir()), append(c.flags, "--roles=all")...)...)
			p.awaitLog("the worker takes tasks")
			var done atomic.Int64
			mux := asynq.NewServeMux()
			mux.HandleFunc("order:paid", func(context.Context, *asynq.Task) error { done.Add(1); return nil })
			c.neighbour.LogLevel = asynq.FatalLevel
			neighbour := asynq.NewServerFromRedisClient(openRedis(t, redisURL), c.neighbour)
			if err := neighbour.Start(mux); err != nil {
				t.Fatal(err)
			}
			defer neighbour.Shutdown()
			const events = 20
			var produced int64
			openLedger(t, databaseURL).scan(&produced, `SELECT count(outboxd.emit('order:paid', '{}', queue => CASE WHEN $2 AND n % 2 = 0 THEN 'low' ELSE 'default' END)) FROM generate_series(1, $1) n`,
				events, len(c.neighbour.Queues) > 1)
			within(t, 5*time.Second, "the neighbour has done all", func() bool { return done.Load() == events })
			awaitSent(t, p.api, register(t, p.api, "ada@example.com"))
			p.stop()
		})
	}
}

func TestTheDefaultQueuesAreThoseOfTheHandlers(t *testing.T) {
	t.Parallel()
	if queues := slices.Collect(maps.Keys(config.Default().Worker.Queues)); !slices.Equal(queues, []string{registration.NotificationQueue}) {
		t.Errorf("a worker serves %q by default, and its handlers' events are in %q", queues, registration.NotificationQueue)
	}
}
