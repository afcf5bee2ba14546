package inspect

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/client/presence"
	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
	"outboxd/jobs/pauses"
)

// Overviews implements overview.QueueOverviews. It is safe for concurrent use.
type Overviews struct {
	redis     redis.UniversalClient
	inspector *asynq.Inspector
}

// NewOverviews returns the overviews of a Redis.
func NewOverviews(r *broker.Redis) *Overviews { return &Overviews{r.Client(), r.Inspector()} }

var _ overview.QueueOverviews = (*Overviews)(nil)

// oldestLooked is the number of tasks at each end of the retry set that are read to find
// the oldest task. An old task may be at either end, because the tasks with the most
// attempts have the longest wait.
const oldestLooked = 20

// headsRead is how many tasks at the head of a queue are read to find the oldest one.
const headsRead = 16

// headScript returns when the oldest of the tasks at the head of a queue began to wait, in nanoseconds of Unix time.
// Without a script a worker might take the head before its hash is read, and a queue that is drained fast would have
// no oldest task. Returns nothing if no task waits.
//
// KEYS: the queue's pending list. ARGV: the prefix of the keys of its tasks.
var headScript = redis.NewScript(`
local oldest
for _, id in ipairs(redis.call("LRANGE", KEYS[1], -` + strconv.Itoa(headsRead) + `, -1)) do
	local since = redis.call("HGET", ARGV[1] .. id, "pending_since")
	if since and (not oldest or tonumber(since) < tonumber(oldest)) then oldest = since end
end
return oldest`)

// queueReads has the commands that read one queue. The commands get their replies later,
// in a pipeline.
type queueReads struct {
	pending, active, scheduled, retry, archived *redis.IntCmd
	since                                       *redis.Cmd // when the oldest pending task became pending
	soonest, latest                             *redis.StringSliceCmd
	paused, processed, failed                   *redis.StringCmd
}

// Queues implements overview.QueueOverviews. Queues takes two round trips. Asynq's own inspector is not used, because it would also estimate
// memory and read tasks for that.
func (o *Overviews) Queues(ctx context.Context) ([]overview.QueueStatus, error) {
	names, err := o.redis.SMembers(ctx, broker.QueuesKey).Result()
	if err != nil {
		return nil, broker.Unavailable("count the tasks of the queues", err)
	}
	slices.Sort(names)
	reads, today := make([]queueReads, len(names)), time.Now()
	answers, err := o.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			reads[i] = queueReads{
				pending: pipe.LLen(ctx, broker.PendingKey(name)), active: pipe.LLen(ctx, broker.ActiveKey(name)),
				scheduled: pipe.ZCard(ctx, broker.ScheduledKey(name)), retry: pipe.ZCard(ctx, broker.RetryKey(name)),
				archived: pipe.ZCard(ctx, broker.ArchivedKey(name)),
				since:    headScript.Eval(ctx, pipe, []string{broker.PendingKey(name)}, broker.TaskPrefix(name)),
				soonest:  pipe.ZRange(ctx, broker.RetryKey(name), 0, oldestLooked-1),
				latest:   pipe.ZRange(ctx, broker.RetryKey(name), -oldestLooked, -1),
				paused:   pipe.Get(ctx, broker.PausedKey(name)), processed: pipe.Get(ctx, broker.ProcessedKey(name, today)), failed: pipe.Get(ctx, broker.FailedKey(name, today)),
			}
		}
		return nil
	})
	if err := fault(answers, err); err != nil {
		return nil, broker.Unavailable("count the tasks of the queues", err)
	}
	queues := make([]overview.QueueStatus, 0, len(names))
	for i, r := range reads {
		if broker.IsForbiddenKey(r.pending.Err()) {
			continue // a finding names this queue
		}
		queues = append(queues, overview.QueueStatus{
			Name: names[i], Pending: r.pending.Val(), Active: r.active.Val(), Scheduled: r.scheduled.Val(), Retry: r.retry.Val(), Archived: r.archived.Val(),
			OldestAt: r.oldest(), PausedAt: r.pausedAt(), Processed: number(r.processed), Failed: number(r.failed),
		})
	}
	return queues, nil
}

// fault returns the first error of a pipeline, except for two kinds. fault ignores an
// error about the keys of one queue, and a missing value: an empty list has no head, and
// a worker may just have taken a task.
func fault(answers []redis.Cmder, err error) error {
	if err == nil || len(answers) == 0 {
		return err
	}
	for _, answer := range answers {
		if err := answer.Err(); err != nil && !errors.Is(err, redis.Nil) && !broker.IsForbiddenKey(err) {
			return err
		}
	}
	return nil
}

// oldest returns the time at which the oldest of the read tasks began to wait. For pending tasks, that is when the
// task became pending. For failed tasks, it is when the event's ID was made.
func (r queueReads) oldest() (oldest time.Time) {
	older := func(at time.Time) {
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	if since, err := r.since.Text(); err == nil {
		if nanoseconds, err := strconv.ParseInt(since, 10, 64); err == nil {
			older(time.Unix(0, nanoseconds))
		}
	}
	for _, task := range slices.Concat(r.soonest.Val(), r.latest.Val()) {
		if id, err := domain.EventID(task); err == nil {
			if at, timed := id.Time(); timed {
				older(at)
			}
		}
	}
	return oldest
}

// pausedAt returns when the queue was paused, to the second; the zero time if it is not
// paused.
func (r queueReads) pausedAt() time.Time {
	if r.paused.Err() != nil {
		return time.Time{}
	}
	return time.Unix(max(number(r.paused), 1), 0)
}

// Paused implements overview.QueueOverviews.
func (o *Overviews) Paused(ctx context.Context, queues []string) ([]string, error) {
	names, err := pauses.Among(ctx, o.redis, queues)
	if err != nil {
		return nil, broker.Unavailable("look which queues are paused", err)
	}
	return names, nil
}

// number converts a reply of Redis to a number; 0 if there is no value.
func number(read *redis.StringCmd) int64 {
	n, _ := strconv.ParseInt(read.Val(), 10, 64)
	return n
}

// Workers implements overview.QueueOverviews. Asynq's inspector takes no context; the
// timeouts of the client limit it.
func (o *Overviews) Workers(ctx context.Context) ([]overview.WorkerStatus, error) {
	servers, err := o.inspector.Servers()
	if err != nil {
		return nil, broker.Unavailable("look for workers", err)
	}
	workers := make([]overview.WorkerStatus, len(servers))
	for i, s := range servers {
		workers[i] = overview.WorkerStatus{
			Host: s.Host, PID: s.PID, StartedAt: s.Started, Concurrency: s.Concurrency, Busy: len(s.ActiveWorkers),
			Stopping: s.Status != "active", Queues: s.Queues, Strict: s.StrictPriority, Tasks: working(s.ActiveWorkers),
		}
	}
	if err := o.identify(ctx, workers); err != nil {
		return nil, broker.Unavailable("look for workers", err)
	}
	slices.SortFunc(workers, func(a, b overview.WorkerStatus) int {
		if order := strings.Compare(a.Host, b.Host); order != 0 {
			return order
		}
		return a.PID - b.PID
	})
	return workers, nil
}

// identify sets WorkerStatus.Own and WorkerStatus.Version.
func (o *Overviews) identify(ctx context.Context, workers []overview.WorkerStatus) error {
	if len(workers) == 0 {
		return nil
	}
	said := make([]*redis.StringCmd, len(workers))
	_, err := o.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, w := range workers {
			said[i] = presence.Read(ctx, pipe, w.Host, w.PID)
		}
		return nil
	})
	for i := range workers {
		w := &workers[i]
		p := presence.Parse(said[i].Val(), w.StartedAt)
		w.Own, w.Version = p.Own, p.Version
	}
	return err
}

func working(active []*asynq.WorkerInfo) []overview.WorkingTask {
	slices.SortFunc(active, func(a, b *asynq.WorkerInfo) int { return a.Started.Compare(b.Started) })
	active = active[:min(len(active), overview.WorkerTasksShown)]
	tasks := make([]overview.WorkingTask, len(active))
	for i, a := range active {
		tasks[i] = overview.WorkingTask{TaskRef: queued.TaskRef{Queue: a.Queue, TaskID: a.TaskID}, Type: a.TaskType, Since: a.Started, Deadline: a.Deadline}
	}
	return tasks
}
