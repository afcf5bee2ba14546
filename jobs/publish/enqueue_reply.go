package publish

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// What Asynq's scripts that enqueue a task return, by their own comments. Only
// the one for unique tasks knows duplicate.
const (
	scriptEnqueued  = int64(1)
	scriptConflict  = int64(0)
	scriptDuplicate = int64(-1)
)

// readReceipt says what the reply to an enqueuing script means for its event.
// Only an integer that the script documents is an answer. Of the errors, only
// those that are about the event's own task are its refusal: everything else
// concerns all events alike, and says nothing about this one.
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
		return unanswered(broker.UnexpectedReply{To: "Asynq's script", Reply: reply})
	}
}

// unanswered is the receipt of an event about which the error says nothing.
func unanswered(err error) domain.Receipt {
	return domain.Receipt{Err: broker.Unavailable("enqueue tasks", err)}
}

// firstKey is where the first key of a script stands in its command: behind the
// name, the script, and how many keys there are.
const firstKey = 3

// uniqueLock is the key of a unique task's lock, until it is known who has it.
type uniqueLock string

func (l uniqueLock) Error() string { return "another task has the lock " + string(l) }
