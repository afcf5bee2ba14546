package lead

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"outboxd/domain/queued"
)

// archive has archived tasks of other programs, one a second, and notes from when on they are read.
type archive struct {
	queued.ArchivedTasks
	tasks int
	begun time.Time
	froms []time.Time
}

func (a *archive) Queues(context.Context) ([]string, error) { return []string{"default"}, nil }

func (a *archive) Archived(_ context.Context, _ string, from time.Time, skip, limit int) (list []queued.ArchivedTask, err error) {
	if skip == 0 {
		a.froms = append(a.froms, from)
	}
	for n := range a.tasks {
		if at := a.begun.Add(time.Duration(n) * time.Second); !at.Before(from) {
			list = append(list, queued.ArchivedTask{TaskID: "other", At: at})
		}
	}
	list = list[min(skip, len(list)):]
	return list[:min(limit, len(list))], nil
}

// A search begins archiveOverlap before the newest task that the last search found, however many tasks that search
// found. A full archive of Asynq has a whole number of batches.
func TestASearchDoesNotRepeatTheWholeArchive(t *testing.T) {
	t.Parallel()
	for _, tasks := range []int{1, archiveBatch - 1, archiveBatch, archiveBatch + 1, 10 * archiveBatch} {
		queue := &archive{tasks: tasks, begun: time.Unix(1_000_000, 0)}
		a := &archivist{o: Archives{Queue: queue}, log: slog.New(slog.DiscardHandler), seen: map[string]time.Time{}}
		for range 2 {
			if err := a.look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		newest := queue.begun.Add(time.Duration(tasks-1) * time.Second)
		if want := newest.Add(-archiveOverlap); !queue.froms[1].Equal(want) {
			t.Errorf("%d tasks: the second search begins at %v, want %v", tasks, queue.froms[1], want)
		}
	}
}
