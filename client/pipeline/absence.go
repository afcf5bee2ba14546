package pipeline

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/client/spare"
)

// absence remembers when Redis last gave no answer, or refused all work. It is safe for concurrent use.
type absence struct{ last atomic.Int64 }

// absenceCounts is for how long after an outage of Redis the outage may be the cause of an ended lease. It adds up the
// length of a lease, which Asynq may have extended just before the outage, the time that Asynq waits after the lease's
// end, the interval at which Asynq looks for ended leases, and a margin.
const absenceCounts = leaseTime + 30*time.Second + time.Minute + 30*time.Second

// refusing lists the beginnings of errors with which Redis refuses all work until somebody helps it. Other errors may
// concern one queue or one command, and may last. They do not count, because otherwise a task that crashes its worker
// would lose no attempt and would be run for ever.
var refusing = []string{"BUSY", "MISCONF", "NOAUTH", "WRONGPASS"}

// hear is called with the error of a command, or nil.
func (a *absence) hear(err error) {
	if err == nil || errors.Is(err, redis.ErrClosed) {
		return
	}
	_, answered := errors.AsType[redis.Error](err)
	refused := func(word string) bool { return redis.HasErrorPrefix(err, word) }
	if !answered || mayPass(err) || slices.ContainsFunc(refusing, refused) {
		a.last.Store(time.Now().UnixNano())
	}
}

func (a *absence) isRecent() bool {
	last := a.last.Load()
	return last != 0 && time.Since(time.Unix(0, last)) < absenceCounts
}

// IsFailure returns a function for the server's asynq.Config.IsFailure, which says which errors cost a task an attempt.
// If the lease of a task has ended, and Redis gave no answer or refused all work in the last two and a half minutes, the
// task loses no attempt: its worker may live, and could not extend the lease. For all other errors the parameter decides.
func (c *Client) IsFailure(decide func(error) bool) func(error) bool {
	return func(err error) bool {
		if errors.Is(err, asynq.ErrLeaseExpired) && c.absence.isRecent() {
			return false
		}
		return decide(err)
	}
}

// spareForAbsence spares a task that Asynq is about to archive because its lease has ended, if there was an outage of
// Redis recently (see absenceCounts).
func (c *Client) spareForAbsence(keys []string, args []any) {
	if !c.absence.isRecent() || !spare.IsArchiving(keys, args) {
		return
	}
	id, isText := args[0].(string)
	message, isMessage := args[1].([]byte)
	if isText && isMessage && errorOf(message) == asynq.ErrLeaseExpired.Error() {
		c.spared.Spare(id, time.Second)
	}
}
