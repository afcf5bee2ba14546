package consumer_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/outboxtest"
)

const step client.Type[int] = "test:step"

// The worker polls as rarely as it can here, about every 10 seconds, and every event of the key waits for the
// confirmation of the one before. Without the bell they would not all run before Drain gives up.
func TestAnOrderingKeyRingsTheBell(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t)
	db := o.DB(t)
	exec(t, db, "CREATE TABLE steps (place serial, n integer)")
	c := consumer.New(consumer.SQL(db), consumer.Options{})
	mux := asynq.NewServeMux()
	mux.Handle(step.String(), consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, n int) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO steps (n) VALUES ($1)", n)
		return err
	}))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := consumer.Run(ctx, o.Redis(t), asynq.Config{TaskCheckInterval: time.Hour, LogLevel: asynq.FatalLevel}, mux); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	const steps = 30
	for n := range steps {
		event := step.Event(n)
		event.OrderingKey = "k"
		emit(t, db, event)
	}
	o.Drain(t)
	if n := count(t, db, fmt.Sprintf("SELECT count(*) FROM steps WHERE n = place - 1 AND n < %d", steps)); n != steps {
		t.Errorf("%d of %d steps are in order", n, steps)
	}
}
