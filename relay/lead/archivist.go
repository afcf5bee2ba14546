package lead

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/relay/pace"
)

// Archives has what the leader needs to find archived tasks whose events are not dead letters yet. Such tasks
// exist, for example, if a worker was killed during the last attempt, could not reach the database, or is not
// outboxd's.
type Archives struct {
	Queue    queued.ArchivedTasks
	Failures domain.FailedTasks
	Tasks    queued.TaskRemover // deletes archived tasks of events that may not take effect yet; nil: they stay
	Every    time.Duration      // between two searches
}

const (
	// Each search also repeats the last archiveOverlap of the previous one, because clocks may differ.
	archiveOverlap = time.Minute
	// archiveAnew is how often all archived tasks are searched again, because clocks may jump and tasks may move
	// during a search.
	archiveAnew = time.Hour
	// archiveBatch is how many archived tasks are looked up at once.
	archiveBatch = 1000
)

// archivist makes dead letters of events whose tasks are archived, in all
// queues. It runs in the leader.
type archivist struct {
	o        Archives
	log      *slog.Logger
	archived prometheus.Counter
	seen     map[string]time.Time // by queue: when the newest task found so far was archived
}

// run searches at once and then repeatedly, until ctx ends. If a search fails, the next one covers its time span
// too.
func (a *archivist) run(ctx context.Context, leads domain.StillLeads) {
	anew, failing := time.Time{}, false
	for leads(ctx) == nil {
		if time.Since(anew) >= archiveAnew {
			anew, a.seen = time.Now(), map[string]time.Time{}
		}
		switch err := a.look(ctx); {
		case err == nil:
			failing = false
		case ctx.Err() != nil:
		case failing, errors.Is(err, errBusyElsewhere):
			a.log.Debug("archived tasks are looked for again", "retry_in", a.o.Every, "error", err)
		default:
			a.log.Warn("could not look for events whose tasks are archived", "retry_in", a.o.Every, "error", err)
			failing = true
		}
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
	var failed error // in one queue; the other queues are still searched
	for _, queue := range queues {
		if err := a.lookInto(ctx, queue); err != nil {
			failed = worse(failed, err)
		}
	}
	return failed
}

// lookInto reads the tasks of a queue that were archived since the last search, and some older ones. An event that
// cannot become a dead letter keeps no other from becoming one; its error is returned at the end.
func (a *archivist) lookInto(ctx context.Context, queue string) error {
	var failed error
	from, seen := time.Unix(0, 0), a.seen[queue]
	if !seen.IsZero() {
		from = seen.Add(-archiveOverlap)
	}
	for skip := 0; ; skip += archiveBatch {
		batch, err := a.o.Queue.Archived(ctx, queue, from, skip, archiveBatch)
		if err != nil {
			return err
		}
		if err := a.bury(ctx, queue, batch); err != nil {
			if !isOfOneEvent(ctx, err) {
				return err
			}
			failed = worse(failed, err)
		}
		if len(batch) > 0 {
			seen = batch[len(batch)-1].At
		}
		if len(batch) < archiveBatch { // the last batch is empty if all others were full, as in a full archive
			if failed == nil {
				a.seen[queue] = seen
			}
			return failed
		}
	}
}

// errBusyElsewhere is the error if an event cannot become a dead letter before another transaction ends, which may take
// hours. The next search tries again.
var errBusyElsewhere = errors.New("another transaction is confirming, cancelling or moving the event")

// worse returns the error of two that says more: any other error says more than errBusyElsewhere.
func worse(failed, err error) error {
	if failed != nil && errors.Is(err, errBusyElsewhere) {
		return failed
	}
	return err
}

// isOfOneEvent reports whether a dead letter could not be made for a reason that need not concern other events.
func isOfOneEvent(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() == nil && domain.ErrorCode(err) != domain.CodeUnavailable
}

// bury makes dead letters of a batch of archived tasks. One query for the batch finds the events that are pending,
// held or in flight in this database. bury skips the tasks of all other events.
func (a *archivist) bury(ctx context.Context, queue string, batch []queued.ArchivedTask) error {
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
	var failed error
	for _, id := range open {
		for _, task := range tasks[id] {
			if err := a.buryTask(ctx, queue, task); isOfOneEvent(ctx, err) {
				failed = worse(failed, err)
			} else if err != nil {
				return err
			}
		}
	}
	return failed
}

// buryTask makes a dead letter of an archived task.
//
// Errors: errBusyElsewhere.
func (a *archivist) buryTask(ctx context.Context, queue, taskID string) error {
	failed, err := a.o.Queue.Failure(ctx, queue, taskID)
	if domain.ErrorCode(err) == domain.CodeNotFound {
		return nil // the task is no longer archived
	} else if err != nil {
		return err
	}
	// The argument true allows a dead letter only if a table still has the event. A person may have discarded the
	// event while its task stays in the archive.
	burial, err := a.o.Failures.Bury(ctx, failed, true)
	switch {
	case err != nil:
		return err
	case burial == domain.BusyElsewhere:
		return errBusyElsewhere
	case burial == domain.BuriedEarly && a.o.Tasks != nil:
		// Without this deletion the relay would take the archived task for the new one when the event becomes due.
		_, err = a.o.Tasks.Remove(ctx, []domain.Event{failed.Event})
		return err
	case burial == domain.Buried:
		a.archived.Inc()
		a.log.Error("an archived task became a dead letter",
			"event_id", failed.ID, "task_type", failed.Type, "queue", queue, "error", failed.Err)
	}
	return nil
}
