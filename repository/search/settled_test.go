package search_test

import (
	"slices"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain/queued"
	"outboxd/repository/search"
)

func TestSettledTasks(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	const (
		dead      = "01980000-0000-7000-8000-000000000001"
		confirmed = "01980000-0000-7000-8000-000000000002"
		discarded = "01980000-0000-7000-8000-000000000003"
		unknown   = "01980000-0000-7000-8000-000000000004"
	)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, error, stage)
		VALUES ('`+dead+`', 'test:a', '', '{}', 'default', now(), 0, 1, now(), 'no', 'worker')`)
	exec(t, db, `INSERT INTO inbox (event_id) VALUES ('`+confirmed+`')`)
	exec(t, db, `INSERT INTO outbox_journal (event_id, stage, entry, generation) VALUES ('`+discarded+`', 'person', 'discarded', 0)`)
	const retention = time.Hour
	lately, before := time.Now().Add(-retention/2), time.Now().Add(-2*retention)
	var tasks []queued.ArchivedTask
	want := map[queued.ArchivedTask]bool{}
	for _, task := range []struct {
		id      string
		at      time.Time
		settled bool
	}{
		{"not-of-an-event", before, false},
		{dead + ".1", lately, false},
		{dead + ".1", before, false},
		{dead, lately, true}, // it was replayed; its next task is dead
		{confirmed, lately, true},
		{discarded, lately, true},
		{discarded + ".1", lately, false},
		{unknown, lately, false},
		{unknown, before, true}, // nothing tells any more how its dead letter ended
	} {
		tasks = append(tasks, queued.ArchivedTask{TaskID: task.id, At: task.at})
		want[tasks[len(tasks)-1]] = task.settled
	}
	places, err := search.NewOverviews(db).Settled(t.Context(), tasks, retention)
	if err != nil {
		t.Fatal(err)
	}
	for place, task := range tasks {
		if settled := slices.Contains(places, place); settled != want[task] {
			t.Errorf("task %s, archived %v ago: settled is %t", task.TaskID, time.Since(task.At).Round(time.Minute), settled)
		}
	}
}
