package deadletters_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/search"
)

// An event leaves the history when it dies, is sent again, moved or cancelled. Its timeline keeps each hand-over to
// Redis, with the task of that time.
func TestTheTimelineKeepsEachHandOver(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	emit(t, db, 1)
	id, action := find(t, db, "test:1"), &domain.Action{Actor: "ada"}
	want := func(steps ...string) {
		t.Helper()
		life, err := search.NewLives(db).Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, step := range life.Timeline(nil) {
			what, _, _ := strings.Cut(step.What, " ")
			if what == "available" {
				continue
			}
			if task, _, found := strings.Cut(strings.TrimPrefix(step.Detail, "task "+id.String()), " "); found && what == "enqueued" {
				what += task
			}
			got = append(got, what)
		}
		if strings.Join(got, " ") != strings.Join(steps, " ") {
			t.Errorf("the timeline is\n%q, want\n%q", got, steps)
		}
	}
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	relayAll(t, store)
	want("emitted", "enqueued")
	steps := []string{"emitted", "enqueued", "died"}
	do(deadletters.NewFailedTasks(db, true).Bury(t.Context(), failedTask(id, "test:1"), false))
	want(steps...)
	do(deadletters.New(db).Replay(t.Context(), action, domain.DeadFilter{}, 1))
	relayAll(t, store)
	steps = append(steps, "replayed", "enqueued.1")
	want(steps...)
	do(heal.NewRedriver(db).Redrive(t.Context(), time.Hour))
	steps = append(steps, "redriven")
	want(steps...)
	relayAll(t, store)
	do(heal.NewMissingEvents(db).Resend(t.Context(), []domain.ID{id}, "it is not in Redis"))
	steps = append(steps, "enqueued.1", "redriven")
	want(steps...)
	relayAll(t, store)
	exec(t, db, "SELECT outboxd.reschedule($1, now() - interval '1 second')", id)
	steps = append(steps, "enqueued.1", "rescheduled")
	want(steps...)
	relayAll(t, store)
	balance(t, db)
	exec(t, db, "SELECT outboxd.cancel($1)", id)
	want(append(steps, "enqueued.2", "cancelled")...)
}
