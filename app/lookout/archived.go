package lookout

import (
	"context"
	"slices"
	"time"

	"outboxd/domain/overview"
	"outboxd/domain/queued"
)

const (
	// archivedRead bounds the archived tasks that one reading looks up, in all queues together. Tasks beyond it
	// count as tasks of dead letters.
	archivedRead = 10_000
	// archivedAge is the pause between two readings, whether they succeed or fail. Tasks that are archived in the
	// pause count as tasks of dead letters until the next reading.
	archivedAge = 10 * time.Second
)

// settled counts the archived tasks that need no attention, by queue.
type settled struct {
	at     time.Time // of the last reading, even if it failed
	counts map[string]int64
}

// countSettled looks up the archived tasks of the queues in the database. Asynq keeps an archived task for up to 90
// days, also after its dead letter was replayed or discarded. If a server does not answer, the last counts hold; before the
// first answer no task counts as settled.
func (l *Lookout) countSettled(ctx context.Context, queues []overview.QueueStatus) map[string]int64 {
	var archived []string
	for _, queue := range queues {
		if queue.Archived > 0 {
			archived = append(archived, queue.Name)
		}
	}
	if len(archived) == 0 || l.s.Archived == nil || l.s.Settled == nil {
		return nil
	}
	if last := l.lastSettled(); time.Since(last.at) < archivedAge {
		return last.counts
	}
	found, err := l.lookUp(ctx, archived)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled.at = time.Now()
	if err == nil {
		l.settled.counts = found
	}
	return l.settled.counts
}

func (l *Lookout) lastSettled() settled {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled
}

func (l *Lookout) lookUp(ctx context.Context, queues []string) (map[string]int64, error) {
	var tasks []queued.ArchivedTask
	var of []string // the queue of each task
	slices.Sort(queues)
	for _, queue := range queues {
		if len(tasks) >= archivedRead {
			break
		}
		newest, err := l.s.Archived.NewestArchived(ctx, queue, archivedRead-len(tasks))
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, newest...)
		of = append(of, slices.Repeat([]string{queue}, len(newest))...)
	}
	places, err := l.s.Settled(ctx, tasks, l.s.Retention)
	if err != nil {
		return nil, err
	}
	found := map[string]int64{}
	for _, place := range places {
		found[of[place]]++
	}
	return found, nil
}
