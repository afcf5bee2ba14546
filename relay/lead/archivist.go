package lead

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/relay/pace"
)

// Archives finds tasks that the queue gave up without asking anybody: those
// whose worker was killed in their last attempt, those that were given up while
// the database was away, and all of a worker that knows nothing of outboxd.
type Archives struct {
	Queue    domain.ArchivedTasks
	Failures domain.FailedTasks
	Every    time.Duration // between two looks
}

const (
	// archiveOverlap is looked at twice, for clocks that differ.
	archiveOverlap = time.Minute
	// archiveAnew is how often the archives are looked at from the beginning,
	// for clocks that jumped, and tasks that were moved while a look went past.
	archiveAnew = time.Hour
	// archiveBatch is how many of an archive's tasks are looked up at once.
	archiveBatch = 1000
)

// archivist makes dead letters of events whose tasks are archived, in whichever
// queue. One process does it for all.
type archivist struct {
	o        Archives
	log      *slog.Logger
	archived prometheus.Counter
	seen     map[string]time.Time // by queue, when the newest task that was looked at was archived
}

// run looks at once and then again and again, until ctx ends. A look that fails
// is made up for by the next.
func (a *archivist) run(ctx context.Context, leads domain.StillLeads) {
	anew, failing := time.Time{}, false
	for leads(ctx) == nil {
		if time.Since(anew) >= archiveAnew {
			anew, a.seen = time.Now(), map[string]time.Time{}
		}
		err := a.look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			a.log.Warn("could not look for events whose tasks are archived", "retry_in", a.o.Every, "error", err)
		}
		failing = err != nil
		if pace.Wait(ctx, a.o.Every); ctx.Err() != nil {
			return
		}
	}
}

func (a *archivist) look(ctx context.Context) error {
	queues, err := a.o.Queue.Queues(ctx)
	if err != nil {
		return err
	}
	var failed error // in one queue, where others may be looked into
	for _, queue := range queues {
		if err := a.lookInto(ctx, queue); err != nil {
			failed = err
		}
	}
	return failed
}

// lookInto goes through what was archived in a queue since the last time.
func (a *archivist) lookInto(ctx context.Context, queue string) error {
	from, seen := time.Unix(0, 0), a.seen[queue]
	if !seen.IsZero() {
		from = seen.Add(-archiveOverlap)
	}
	for skip := 0; ; skip += archiveBatch {
		batch, err := a.o.Queue.Archived(ctx, queue, from, skip, archiveBatch)
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := a.bury(ctx, queue, batch); err != nil {
			return err
		}
		if seen = batch[len(batch)-1].At; len(batch) < archiveBatch {
			a.seen[queue] = seen
			return nil
		}
	}
}

// bury leaves alone what is no event of this database's, or not on record: it
// costs one look at the store for a batch.
func (a *archivist) bury(ctx context.Context, queue string, batch []domain.ArchivedTask) error {
	tasks := map[domain.ID][]string{}
	var ids []domain.ID
	for _, task := range batch {
		if id, err := domain.EventID(task.TaskID); err == nil {
			ids, tasks[id] = append(ids, id), append(tasks[id], task.TaskID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	open, err := a.o.Failures.Unburied(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range open {
		for _, task := range tasks[id] {
			if err := a.buryTask(ctx, queue, task); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *archivist) buryTask(ctx context.Context, queue, taskID string) error {
	failed, err := a.o.Queue.Failure(ctx, queue, taskID)
	if domain.ErrorCode(err) == domain.CodeNotFound {
		return nil // it was replayed or discarded meanwhile
	} else if err != nil {
		return err
	}
	// Only what is on record: a person may have discarded the event, and its
	// task stays in the archive.
	burial, err := a.o.Failures.Bury(ctx, failed, true)
	if err == nil && burial == domain.Buried {
		a.archived.Inc()
		a.log.Error("an archived task became a dead letter",
			"event_id", failed.ID, "task_type", failed.Type, "queue", queue, "error", failed.Err)
	}
	return err
}
