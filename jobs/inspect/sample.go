package inspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/pipeline"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// Known is a function that returns those of the IDs that are, or may be, events of this
// database.
type Known func(ctx context.Context, ids []domain.ID) ([]domain.ID, error)

const (
	// sampled is the number of task IDs that an examination reads at each end of a
	// queue's pending list, scheduled set and retry set.
	sampled = 50
	// samplesMost is the largest number of IDs about which one examination asks the
	// database.
	samplesMost = 5_000
	// knownPatience is how long the examination of Redis waits until the database says which tasks are
	// its own. receiversPatience is how long it waits for the paused and removed subscriptions.
	knownPatience     = 2 * time.Second
	receiversPatience = time.Second
	// typesRead is the number of tasks of a queue that an examination reads to name their
	// types.
	typesRead = 30
)

// sample has the IDs of some waiting tasks of a queue: first pending tasks, then
// scheduled ones, then failed ones that wait for a retry.
type sample []string

// samples reads some task IDs at both ends of each queue, because one of the ends may be
// full of other programs' tasks.
func (i *Inspector) samples(ctx context.Context, queues []string) (map[string]sample, error) {
	reads := make([][]*redis.StringSliceCmd, len(queues))
	_, err := i.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, queue := range queues {
			reads[n] = []*redis.StringSliceCmd{
				pipe.LRange(ctx, broker.PendingKey(queue), -sampled, -1), pipe.LRange(ctx, broker.PendingKey(queue), 0, sampled-1),
				pipe.ZRange(ctx, broker.ScheduledKey(queue), 0, sampled-1), pipe.ZRange(ctx, broker.ScheduledKey(queue), -sampled, -1),
				pipe.ZRange(ctx, broker.RetryKey(queue), 0, sampled-1), pipe.ZRange(ctx, broker.RetryKey(queue), -sampled, -1),
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	of := make(map[string]sample, len(queues))
	for n, queue := range queues {
		for _, read := range reads[n] {
			for _, id := range read.Val() {
				if !slices.Contains(of[queue], id) {
					of[queue] = append(of[queue], id)
				}
			}
		}
	}
	return of, nil
}

// ours says which of some tasks belong to events of this database, and which belong to
// other programs.
type ours struct {
	asked, known map[domain.ID]bool
	all          bool // not known, so all tasks count as ours
}

// ask asks the database in one query which of the tasks belong to its events. If the
// database does not answer, every task counts as this database's, so that no finding is
// hidden.
func (i *Inspector) ask(ctx context.Context, tasks []string) ours {
	o := ours{asked: map[domain.ID]bool{}, known: map[domain.ID]bool{}, all: i.known == nil}
	if o.all {
		return o
	}
	var ids []domain.ID
	for _, task := range tasks {
		if id, err := domain.EventID(task); err == nil && !o.asked[id] && len(ids) < samplesMost {
			o.asked[id] = true
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, knownPatience)
	defer cancel()
	known, err := i.known(ctx, ids)
	o.all = err != nil
	for _, id := range known {
		o.known[id] = true
	}
	return o
}

// The method has reports whether a task belongs, or may belong, to an event of this
// database. A task whose ID does not come from an event ID belongs to another program.
func (o ours) has(task string) bool {
	if o.all {
		return true
	}
	id, err := domain.EventID(task)
	return err == nil && (o.known[id] || !o.asked[id])
}

// The method of returns those tasks of a sample that belong to events of this database. The result
// foreign is true if the sample has tasks and none of them does.
func (o ours) of(s sample) (tasks []string, foreign bool) {
	for _, task := range s {
		if o.has(task) {
			tasks = append(tasks, task)
		}
	}
	return tasks, len(s) > 0 && len(tasks) == 0
}

// types returns the event types of the first typesRead of these tasks.
func (i *Inspector) types(ctx context.Context, queue string, tasks []string) ([]string, error) {
	tasks = tasks[:min(len(tasks), typesRead)]
	messages := make([]*redis.StringCmd, len(tasks))
	// Each answer has its own error.
	_, _ = i.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, task := range tasks {
			messages[n] = pipe.HGet(ctx, broker.TaskKey(queue, task), "msg")
		}
		return nil
	})
	var types []string
	for _, message := range messages {
		if err := message.Err(); err != nil && !errors.Is(err, redis.Nil) { // that is a task that has just ended
			return nil, err
		}
		if kind, ok := pipeline.TypeOf([]byte(message.Val())); ok {
			types = append(types, kind)
		}
	}
	slices.Sort(types)
	return slices.Compact(types), nil
}
