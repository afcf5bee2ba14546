package lookout

import (
	"context"
	"maps"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/domain/overview"
)

const (
	// archivedRead bounds the archived tasks that one reading looks up, in all queues together. The others count as
	// tasks of dead letters.
	archivedRead = 10_000
	// archivedAge is how long an answer holds while the queues have as many archived tasks as before.
	archivedAge = 10 * time.Second
)

// settled counts the archived tasks whose dead letters were replayed or discarded, by queue.
type settled struct {
	at       time.Time
	archived map[string]int64 // all archived tasks, by queue
	settled  map[string]int64
}

// countSettled looks up the archived tasks of the queues in the database. Asynq keeps an archived task for 90 days,
// also after its dead letter was replayed or discarded. If a server does not answer, no task counts as settled.
func (l *Lookout) countSettled(ctx context.Context, queues []overview.QueueStatus) map[string]int64 {
	archived := map[string]int64{}
	for _, queue := range queues {
		if queue.Archived > 0 {
			archived[queue.Name] = queue.Archived
		}
	}
	if len(archived) == 0 || l.s.Archived == nil || l.s.Settled == nil || l.s.PostgresErr != nil {
		return nil
	}
	l.mu.Lock()
	last := l.settled
	l.mu.Unlock()
	if time.Since(last.at) < archivedAge && maps.Equal(last.archived, archived) {
		return last.settled
	}
	found, err := l.lookUp(ctx, archived)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = settled{at: time.Now(), archived: archived, settled: found}
	return found
}

func (l *Lookout) lookUp(ctx context.Context, archived map[string]int64) (map[string]int64, error) {
	var tasks []domain.Event
	for _, queue := range slices.Sorted(maps.Keys(archived)) {
		if len(tasks) >= archivedRead {
			break
		}
		ids, err := l.s.Archived.NewestArchived(ctx, queue, archivedRead-len(tasks))
		if err != nil {
			return nil, err
		}
		for _, task := range ids {
			if id, generation, err := domain.ParseTaskID(task); err == nil {
				tasks = append(tasks, domain.Event{ID: id, Generation: generation, Queue: queue})
			}
		}
	}
	places, err := l.s.Settled(ctx, tasks)
	if err != nil {
		return nil, err
	}
	found := map[string]int64{}
	for _, place := range places {
		found[tasks[place].Queue]++
	}
	return found, nil
}
