package lookup

import (
	"context"
	"errors"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
)

var _ queued.TaskStates = (*Finder)(nil)

// maxGenerations is the number of generations before the present one whose tasks are
// looked for too.
const maxGenerations = 20

// Tasks implements queued.TaskStates. Tasks looks for tasks in the places where workers
// find them, and then reads their details. If the event has no queue, Tasks looks in all
// queues.
func (f *Finder) Tasks(ctx context.Context, event *domain.Event) ([]queued.TaskState, error) {
	const doing = "look for an event's tasks"
	queues := []string{event.Queue}
	if event.Queue == "" {
		var err error
		if queues, err = f.redis.SMembers(ctx, broker.QueuesKey).Result(); err != nil {
			return nil, broker.Unavailable(doing, err)
		}
	}
	var asked []*Inquiry
	for generation := event.Generation; generation >= max(0, event.Generation-maxGenerations); generation-- {
		of := domain.Event{ID: event.ID, Generation: generation}
		for _, queue := range queues {
			asked = append(asked, &Inquiry{Queue: queue, TaskID: of.TaskID()})
		}
	}
	if err := f.Ask(ctx, asked); err != nil {
		return nil, err
	}
	found := []queued.TaskState{}
	for _, q := range asked {
		switch q.Presence() {
		case queued.TaskMissing:
			continue
		case queued.TaskStranded:
			found = append(found, queued.TaskState{TaskID: q.TaskID, Queue: q.Queue, State: queued.StateStranded})
			continue
		case queued.TaskUnfinished, queued.TaskCompleted, queued.TaskArchived: // Asynq has more details
		}
		info, err := f.inspector.GetTaskInfo(q.Queue, q.TaskID)
		switch {
		case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound): // it has just ended
		case err != nil:
			return nil, broker.Unavailable(doing, err)
		default:
			t := queued.TaskState{
				TaskID: info.ID, Queue: info.Queue, State: info.State.String(), Retried: info.Retried, MaxRetry: info.MaxRetry,
				LastError: info.LastErr, CompletedAt: info.CompletedAt, Unhandled: broker.IsNoHandler(info.LastErr),
			}
			// For a pending task NextProcessAt is the present time.
			if info.State == asynq.TaskStateScheduled || info.State == asynq.TaskStateRetry {
				t.NextAt = info.NextProcessAt
			}
			found = append(found, t)
		}
	}
	return found, nil
}
