package publish

import (
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// taskOptions converts the options of events to options of Asynq. taskOptions is reused for one event after
// another. The zero value is ready to use.
type taskOptions struct {
	list      []asynq.Option
	queue     asynq.Option // the option for queueName, which is mostly the next event's queue too
	queueName string
}

// deliveryRetries is the number of retries that Asynq allows for a delivery: practically no limit. The handler
// of deliveries counts the attempts itself. With a low limit Asynq would archive a delivery on its last
// attempt even if the receiver is down, and that must not cost an attempt.
const deliveryRetries = 1 << 20

// deliveryTimeout is so long that hardly any run reaches it: the subscription limits each attempt. A shorter
// timeout would charge the delivery an attempt while it waits for an unreachable database.
const deliveryTimeout = 24 * time.Hour

// The method of returns the options of an event's task. The slice is valid until the next call. Options that the
// event does not set keep Asynq's defaults. A delivery always has deliveryRetries and deliveryTimeout.
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
