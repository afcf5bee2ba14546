package publish

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// The results of Asynq's enqueuing scripts, from their comments. Only the
// script for unique tasks returns duplicate.
const (
	scriptEnqueued  = int64(1)
	scriptConflict  = int64(0)
	scriptDuplicate = int64(-1)
)

// readReceipt returns the receipt for the reply to an enqueuing script. Only an
// integer that the script documents is an answer. An error refuses the event
// only if it is about the event's own task. All other errors concern all events
// and say nothing about this one.
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

// unanswered returns the receipt of an event about which an error says nothing.
func unanswered(err error) domain.Receipt {
	return domain.Receipt{Err: broker.Unavailable("enqueue tasks", err)}
}

// firstKey is the index of a script's first key in its command: after the name,
// the script, and the number of keys.
const firstKey = 3

// uniqueLock is the key of a unique task's lock, while its holder is not known
// yet.
type uniqueLock string

func (l uniqueLock) Error() string { return "another task has the lock " + string(l) }
