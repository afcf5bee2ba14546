package retries

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
	"outboxd/jobs/broker"
)

const (
	// atOnce is the largest number of tasks that one call of a script reads or moves. Redis
	// does nothing else during the call.
	atOnce = 200
	// sampled is the largest number of tasks of a queue that a summary reads, half of them
	// at each end. sampledMost is about the largest number for all queues together. If the queues have more failing
	// tasks, each queue gets a share of sampledMost, but at least shareLeast, so that no queue is left out.
	sampled     = 2000
	sampledMost = 10_000
	shareLeast  = 2 // one task at each end
)

// Tasks are the failing tasks of a Redis. They are safe for concurrent use.
type Tasks struct{ redis redis.UniversalClient }

// New returns the Tasks of a Redis.
func New(r *broker.Redis) *Tasks { return &Tasks{r.Client()} }

var _ queued.FailingTasks = (*Tasks)(nil)

// Failing implements queued.FailingTasks.
func (t *Tasks) Failing(ctx context.Context, tasks []queued.TaskRef) (map[string]queued.FailingTask, error) {
	found := map[string]queued.FailingTask{}
	err := eachQueue(tasks, func(queue string, ids []any) error {
		some, err := t.read(ctx, queue, append([]any{broker.TaskPrefix(queue), "ids"}, ids...))
		for _, task := range some {
			found[task.TaskID] = task
		}
		return err
	})
	return found, unavailable("look for failing tasks", err)
}

func unavailable(tried string, err error) error {
	if err == nil {
		return nil
	}
	return broker.Unavailable(tried, err)
}

// eachQueue calls the function do for one queue at a time, with the IDs of those of the
// tasks that are in the queue. If this Redis user may not use the keys of a queue,
// eachQueue continues with the next queue.
func eachQueue(tasks []queued.TaskRef, do func(queue string, ids []any) error) error {
	byQueue := map[string][]any{}
	var queues []string
	for _, task := range tasks {
		if _, known := byQueue[task.Queue]; !known {
			queues = append(queues, task.Queue)
		}
		byQueue[task.Queue] = append(byQueue[task.Queue], task.TaskID)
	}
	for _, queue := range queues {
		for ids := range slices.Chunk(byQueue[queue], atOnce) {
			if err := do(queue, ids); err != nil && !broker.IsForbiddenKey(err) {
				return err
			}
		}
	}
	return nil
}

func (t *Tasks) read(ctx context.Context, queue string, args []any) ([]queued.FailingTask, error) {
	answers, err := readScript.Run(ctx, t.redis, []string{broker.RetryKey(queue)}, args...).Slice()
	if err != nil {
		return nil, err
	}
	tasks := make([]queued.FailingTask, 0, len(answers))
	for _, answer := range answers {
		task, err := taskOf(queue, answer)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task)
	}
	return tasks, nil
}

// answered is the number of values that readScript returns for one task.
const answered = 7

func taskOf(queue string, answer any) (task queued.FailingTask, err error) {
	values, ok := answer.([]any)
	if !ok || len(values) != answered {
		return task, fmt.Errorf("%.60v is no answer about a failing task", answer)
	}
	texts := make([]string, answered)
	for i, value := range values {
		if texts[i], ok = value.(string); !ok {
			return task, fmt.Errorf("%.60v is no answer about a failing task", answer)
		}
	}
	number := func(text string) int64 {
		n, failed := strconv.ParseFloat(text, 64)
		err = cmp.Or(err, failed)
		return int64(n)
	}
	task = queued.FailingTask{
		TaskRef: queued.TaskRef{Queue: queue, TaskID: texts[0]}, NextAt: time.Unix(number(texts[1]), 0), Type: texts[2],
		Attempts: int(number(texts[3])) + 1, Failed: int(number(texts[4])), Error: broker.Cause(texts[5]).Error(), Unhandled: broker.IsNoHandler(texts[5]),
	}
	if _, delivery := setup.SubscriptionOfQueue(queue); delivery {
		task.Attempts = 0
	}
	if failed := number(texts[6]); failed > 0 {
		task.FailedAt = time.Unix(failed, 0)
	}
	return task, err
}

// All implements queued.FailingTasks.
func (t *Tasks) All(ctx context.Context, limit int) (tasks []queued.TaskRef, more bool, err error) {
	const doing = "list the failing tasks"
	queues, err := t.redis.SMembers(ctx, broker.QueuesKey).Result()
	if err != nil {
		return nil, false, broker.Unavailable(doing, err)
	}
	slices.Sort(queues)
	for _, queue := range queues {
		ids, err := t.redis.ZRange(ctx, broker.RetryKey(queue), 0, int64(limit)).Result()
		if err != nil && !broker.IsForbiddenKey(err) {
			return nil, false, broker.Unavailable(doing, err)
		}
		more = more || len(ids) > limit
		for _, id := range ids[:min(len(ids), limit)] {
			tasks = append(tasks, queued.TaskRef{Queue: queue, TaskID: id})
		}
	}
	return tasks, more, nil
}

// Retry implements queued.FailingTasks.
func (t *Tasks) Retry(ctx context.Context, tasks []queued.TaskRef) (done []queued.TaskRef, err error) {
	err = eachQueue(tasks, func(queue string, ids []any) error {
		args := append([]any{broker.TaskPrefix(queue), time.Now().UnixNano()}, ids...)
		moved, err := retryScript.Run(ctx, t.redis, []string{broker.RetryKey(queue), broker.PendingKey(queue)}, args...).StringSlice()
		done = append(done, refs(queue, moved)...)
		return err
	})
	if len(done) > 0 {
		// The message wakes idle workers. Without the message, idle workers would find the
		// tasks only at their next poll.
		_ = t.redis.Publish(ctx, bell.Channel, "").Err()
	}
	return done, unavailable("retry failing tasks", err)
}

// Archive implements queued.FailingTasks.
func (t *Tasks) Archive(ctx context.Context, tasks []queued.TaskRef) (done []queued.TaskRef, err error) {
	err = eachQueue(tasks, func(queue string, ids []any) error {
		args := append([]any{broker.TaskPrefix(queue), time.Now().Unix()}, ids...)
		moved, err := archiveScript.Run(ctx, t.redis, []string{broker.RetryKey(queue), broker.ArchivedKey(queue)}, args...).StringSlice()
		done = append(done, refs(queue, moved)...)
		return err
	})
	return done, unavailable("give failing tasks up", err)
}

func refs(queue string, ids []string) []queued.TaskRef {
	list := make([]queued.TaskRef, len(ids))
	for i, id := range ids {
		list[i] = queued.TaskRef{Queue: queue, TaskID: id}
	}
	return list
}

// Summary implements queued.FailingTasks.
func (t *Tasks) Summary(ctx context.Context) (queued.FailingSummary, error) {
	summary, err := t.summary(ctx)
	return summary, unavailable("group the failing tasks", err)
}

func (t *Tasks) summary(ctx context.Context) (s queued.FailingSummary, err error) {
	queues, err := t.redis.SMembers(ctx, broker.QueuesKey).Result()
	if err != nil {
		return s, err
	}
	slices.Sort(queues)
	counts := make([]*redis.IntCmd, len(queues))
	_, err = t.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, queue := range queues {
			counts[i] = pipe.ZCard(ctx, broker.RetryKey(queue))
		}
		return nil
	})
	if err != nil && !broker.IsForbiddenKey(err) {
		return s, err
	}
	left, unread := int64(sampledMost), int64(0)
	for _, count := range counts {
		if count.Val() > 0 {
			unread++
		}
	}
	for i, queue := range queues {
		count := counts[i].Val()
		if count == 0 {
			continue
		}
		most := min(sampled, max(left/unread, shareLeast))
		unread--
		s.Tasks += count
		tasks, err := t.sample(ctx, queue, count, most)
		if err != nil && !broker.IsForbiddenKey(err) {
			return s, err
		}
		left -= min(most, count)
		s.Estimated = s.Estimated || count > most
		s.Groups = append(s.Groups, groupsOf(tasks, count)...)
	}
	slices.SortStableFunc(s.Groups, func(a, b queued.FailingGroup) int { return cmp.Compare(b.Tasks, a.Tasks) })
	return s, nil
}

// sample reads failing tasks of a queue, at most as many as the parameter most says, at
// both ends of the retry set: the tasks that are due first, and the tasks that are due
// last.
func (t *Tasks) sample(ctx context.Context, queue string, count, most int64) (tasks []queued.FailingTask, err error) {
	spans := [][2]int64{{0, count}}
	if count > most {
		spans = [][2]int64{{0, most / 2}, {count - most/2, count}}
	}
	for _, span := range spans {
		for from := span[0]; from < span[1]; from += atOnce {
			some, err := t.read(ctx, queue, []any{broker.TaskPrefix(queue), "rank", from, min(from+atOnce, span[1]) - 1})
			if err != nil {
				return nil, err
			}
			tasks = append(tasks, some...)
		}
	}
	return tasks, nil
}

// groupsOf groups some tasks of a queue that has count failing tasks in all.
func groupsOf(tasks []queued.FailingTask, count int64) (groups []queued.FailingGroup) {
	for _, task := range tasks {
		form := queued.ErrorForm(task.Error)
		same := func(g queued.FailingGroup) bool { return g.Type == task.Type && g.ErrorForm == form }
		at := slices.IndexFunc(groups, same)
		if at < 0 {
			at = len(groups)
			groups = append(groups, queued.FailingGroup{Type: task.Type, Queue: task.Queue, ErrorForm: form, Error: task.Error, Unhandled: task.Unhandled, Next: task.NextAt})
		}
		groups[at].Tasks++
		if left := task.Attempts - task.Failed; left > 0 && (groups[at].Left == 0 || left < groups[at].Left) {
			groups[at].Left = left
		}
		if task.NextAt.Before(groups[at].Next) {
			groups[at].Next = task.NextAt
		}
	}
	if read := int64(len(tasks)); read > 0 && count > read {
		for i := range groups {
			groups[i].Tasks = max(groups[i].Tasks*count/read, 1)
		}
	}
	return groups
}
