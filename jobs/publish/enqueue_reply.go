package publish

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// The results of Asynq's enqueuing scripts, as Asynq's comments document them. Only the script for unique tasks
// returns scriptDuplicate.
const (
	scriptEnqueued  = int64(1)
	scriptConflict  = int64(0)
	scriptDuplicate = int64(-1)
)

// readReceipt returns the receipt for the reply to an enqueuing script. Only the documented integers count as
// answers. An error counts as a refusal of the event only if it is about the event or its queue
// (broker.IsRefusal). Any other error may concern all events, so the event counts as unanswered.
func readReceipt(command *redis.Cmd, unique bool) domain.Receipt {
	reply, err := command.Result()
	switch {
	case err != nil && broker.IsRefusal(err):
		return domain.Receipt{Answer: domain.Rejected, Err: err}
	case errors.Is(err, redis.Nil):
		reply = nil
	case err != nil:
		return unanswered(err)
	}
	switch {
	case reply == scriptEnqueued:
		return domain.Receipt{Answer: domain.Accepted}
	case reply == scriptConflict:
		return domain.Receipt{Answer: domain.AlreadyThere}
	case reply == scriptDuplicate && unique:
		return domain.Receipt{Answer: domain.Duplicate, Err: uniqueLock(fmt.Sprint(command.Args()[firstKey]))}
	default:
		return unanswered(redisreply.Unexpected{To: "Asynq's script", Reply: reply})
	}
}

// unanswered returns the receipt of an event after an error that says nothing about this event.
func unanswered(err error) domain.Receipt {
	return domain.Receipt{Err: broker.Unavailable("enqueue tasks", err)}
}

// firstKey is the index of the first key in an EVAL command: the command name, the script and the number of keys
// come before it.
const firstKey = 3

// uniqueLock is the Redis key of a unique task's lock. A receipt has the uniqueLock as its
// error until the holder of the lock is known.
type uniqueLock string

func (l uniqueLock) Error() string { return "another task has the lock " + string(l) }
