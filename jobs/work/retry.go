package work

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// retryBase is the longest delay before the first retry. The longest delay doubles with each retry, up to
// retryLimit.
const (
	retryBase  = 2 * time.Second
	retryLimit = 15 * time.Minute
	// unknownDelay is how long a task without a handler waits before a worker takes it again, perhaps a newer
	// worker with the handler.
	unknownDelay = time.Minute
)

// isBlameless reports whether the error costs the task no attempt. On its last attempt only a spared task goes back to
// its queue.
func isBlameless(err error) bool {
	return errors.Is(err, broker.ErrNoHandler) || isSpared(err) || errors.Is(err, domain.ErrTooEarly)
}

// isSpared reports whether a task goes back to its queue even on its last attempt. A task is spared if it was
// postponed, if the worker stopped before the task could finish, or if the database could not be reached in the
// task's time.
func isSpared(err error) bool {
	_, postponed := isPostponed(err)
	return postponed || errors.Is(err, errStopping) || errors.Is(err, errAway)
}

// retryDelay returns the delay before a retry. The delay is a random one between half of the longest delay (see
// retryBase) and the whole, except after the errors of the first five cases.
func retryDelay(retried int, err error, _ *asynq.Task) time.Duration {
	var named *domain.Error
	postponed, wait := isPostponed(err)
	switch {
	case wait:
		return postponed.Delay
	case errors.Is(err, broker.ErrNoHandler):
		return unknownDelay
	case isSpared(err):
		return retryBase + rand.N(retryBase)
	case errors.Is(err, domain.ErrTooEarly):
		// Asynq rounds to seconds. The random part spreads the tasks.
		return time.Second + rand.N(2*time.Second)
	case errors.As(err, &named) && named.RetryAfter > 0:
		return named.RetryAfter
	}
	ceiling := retryLimit
	if retried < 9 {
		ceiling = min(retryBase<<retried, retryLimit)
	}
	return ceiling/2 + rand.N(ceiling/2)
}
