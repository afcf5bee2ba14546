package lookup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

var _ domain.RunningTasks = (*Finder)(nil)

// asking is one question of Running.
type asking struct {
	queue, taskID string
	of            int // index of the event in the arguments of Running
	answer        *redis.SliceCmd
}

// suspendedFor is how long Running counts an archived task as running after its last attempt lost
// its lease.
const suspendedFor = time.Hour

// Running implements domain.RunningTasks. A task runs if the task is active, or if a worker says
// that it works on the task. Redis may have lost the task since that worker took it. A task whose
// last failed attempt lost its lease counts too, as long as Redis has the task: the process of that
// attempt may be suspended, and go on. If the task was archived, it counts only for suspendedFor,
// because Asynq keeps an archived task for 90 days.
func (f *Finder) Running(ctx context.Context, events []domain.Event) ([]bool, error) {
	const doing = "look whether tasks run"
	var asked []asking
	for i := range events {
		for generation := events[i].Generation; generation >= max(0, events[i].Generation-maxGenerations); generation-- {
			of := domain.Event{ID: events[i].ID, Generation: generation}
			asked = append(asked, asking{queue: events[i].Queue, taskID: of.TaskID(), of: i})
		}
	}
	running := make([]bool, len(events))
	for some := range slices.Chunk(asked, lookAtOnce) {
		_, err := f.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := range some {
				some[i].answer = pipe.HMGet(ctx, broker.TaskKey(some[i].queue, some[i].taskID), "state", "msg")
			}
			return nil
		})
		if err != nil && !broker.IsForbiddenKey(err) {
			return nil, broker.Unavailable(doing, err)
		}
		for _, a := range some {
			active, err := a.runs()
			if err != nil {
				return nil, broker.Unavailable(doing, err)
			}
			running[a.of] = running[a.of] || active
		}
	}
	if !slices.Contains(running, false) {
		return running, nil
	}
	return running, f.addWorkers(ctx, asked, running)
}

// runs reads the answer about one task. If the user may not use the task's keys, the task
// counts as running.
func (a asking) runs() (bool, error) {
	values, err := a.answer.Result()
	switch {
	case broker.IsForbiddenKey(err):
		return true, nil
	case err != nil:
		return false, err
	case len(values) != 2:
		return false, fmt.Errorf("%d values of a task, want 2", len(values))
	}
	state, _ := values[0].(string)
	message, _ := values[1].(string)
	if state == "active" || state == "" {
		return state == "active", nil
	}
	last := broker.LastFailure([]byte(message))
	return last.Error == asynq.ErrLeaseExpired.Error() && (state != "archived" || time.Since(last.At) < suspendedFor), nil
}

// addWorkers adds the tasks that workers say they work on.
func (f *Finder) addWorkers(ctx context.Context, asked []asking, running []bool) error {
	told, err := f.working(ctx)
	if err != nil {
		return err
	}
	for _, a := range asked {
		running[a.of] = running[a.of] || told[a.taskID]
	}
	return nil
}
