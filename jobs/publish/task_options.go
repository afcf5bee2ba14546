package publish

import (
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// taskOptions turns events' options into Asynq's, one event after another. The
// zero value is ready to use.
type taskOptions struct {
	list      []asynq.Option
	queue     asynq.Option // of queueName: mostly the next event's too
	queueName string
}

// deliveryRetries are the retries that Asynq allows a delivery. What carries it out
// counts them: on a last attempt Asynq would archive it also where the receiver is
// down, which is to cost no attempt.
const deliveryRetries = 1 << 20

// deliveryTimeout is never reached: the subscription limits each attempt. Asynq's
// own timeout would charge a delivery for what it waits while the database is away.
const deliveryTimeout = 24 * time.Hour

// of returns an event's options. They are valid until the next call. What the
// event does not say is left to Asynq.
func (t *taskOptions) of(e *domain.Event) []asynq.Option {
	if t.queue == nil || t.queueName != e.Queue {
		t.queue, t.queueName = asynq.Queue(e.Queue), e.Queue
	}
	o := &e.Options
	t.list = append(t.list[:0], asynq.TaskID(e.TaskID()), t.queue)
	switch {
	case e.Subscription != "":
		t.list = append(t.list, asynq.MaxRetry(deliveryRetries))
	case o.MaxRetry != nil:
		t.list = append(t.list, asynq.MaxRetry(*o.MaxRetry))
	}
	switch {
	case e.Subscription != "":
		t.list = append(t.list, asynq.Timeout(deliveryTimeout))
	case o.Timeout > 0:
		t.list = append(t.list, asynq.Timeout(o.Timeout))
	}
	if !o.Deadline.IsZero() {
		t.list = append(t.list, asynq.Deadline(o.Deadline))
	}
	if o.Retention > 0 {
		t.list = append(t.list, asynq.Retention(o.Retention))
	}
	if o.Unique > 0 {
		t.list = append(t.list, asynq.Unique(o.Unique))
	}
	return t.list
}
