package publish

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// findHolders finds the tasks that hold the locks of refused unique tasks, in one round trip. If the event's own
// task exists, from an attempt that the database has not recorded, Redis has the event. If a receipt still has its
// uniqueLock afterwards, the holder is not known.
func (p *Publisher) findHolders(ctx context.Context, events []domain.Event, receipts []domain.Receipt) {
	var locked []int
	for i := range receipts {
		if receipts[i].Answer == domain.Duplicate {
			locked = append(locked, i)
		}
	}
	if locked == nil {
		return
	}
	holders, tasks := make([]*redis.StringCmd, len(locked)), make([]*redis.IntCmd, len(locked))
	// Each answer has its own error.
	_, _ = p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, i := range locked {
			holders[n] = pipe.Get(ctx, string(receipts[i].Err.(uniqueLock))) //nolint:errorlint,forcetypeassert // put there by readReceipt
			tasks[n] = pipe.Exists(ctx, broker.TaskKey(events[i].Queue, events[i].TaskID()))
		}
		return nil
	})
	for n, i := range locked {
		receipts[i] = holderReceipt(&events[i], receipts[i], holders[n], tasks[n])
	}
}

func holderReceipt(e *domain.Event, r domain.Receipt, holder *redis.StringCmd, task *redis.IntCmd) domain.Receipt {
	id, err := holder.Result()
	switch {
	case err != nil && broker.IsRefusal(err):
		return domain.Receipt{Answer: domain.Rejected, Err: err}
	case err != nil && !errors.Is(err, redis.Nil):
		return unanswered(err)
	case task.Err() != nil:
		return unanswered(task.Err())
	case task.Val() == 1:
		// The event's own task exists, so it does not matter which task holds the lock now.
		return domain.Receipt{Answer: domain.AlreadyThere}
	case id != "" && id != e.TaskID():
		return domain.Receipt{Answer: domain.Duplicate, Holder: id}
	default:
		return r // the lock has ended, or is all that is left of a task
	}
}

// freeLockScript removes the unique lock of a task that no longer exists.
const freeLockScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('EXISTS', KEYS[2]) == 0 then redis.call('DEL', KEYS[1]) end
return 1`

// The method again enqueues a refused unique event once more. It first removes the lock if that belongs to a
// former task of the same event that no longer exists.
func (p *Publisher) again(ctx context.Context, e *domain.Event, lock string) domain.Receipt {
	if err := p.redis.Eval(ctx, freeLockScript, []string{lock, broker.TaskKey(e.Queue, e.TaskID())}, e.TaskID()).Err(); err != nil {
		return unanswered(err)
	}
	client, err := p.handle.Shard(ctx, e.Queue)
	if err != nil {
		return unanswered(err)
	}
	l := p.newLane(client)
	events, receipts := []domain.Event{*e}, make([]domain.Receipt, 1)
	if err := l.carry(ctx, events, receipts, p.replicas); err != nil {
		return unanswered(err)
	}
	if p.findHolders(ctx, events, receipts); receipts[0].Answer == domain.Duplicate {
		if _, unknown := receipts[0].Err.(uniqueLock); unknown { //nolint:errorlint // put there by readReceipt
			return unanswered(receipts[0].Err)
		}
	}
	return receipts[0]
}
