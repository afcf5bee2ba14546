package events

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/handler/dashboard/show"
)

func TestTimelineSaysHowLongStepsTookAndWhatIsAhead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 28, 11, 0, 0, 0, time.UTC)
	steps := timeline([]lives.Step{
		{At: at, What: "emitted", Detail: "a:b"},
		{At: at, What: "available"},
		{At: at.Add(15 * time.Millisecond), What: "enqueued"},
		{At: at.Add(21*time.Minute + 15*time.Second), What: "failed (worker)", Detail: "attempt 1: it broke"},
		{At: at.Add(22 * time.Minute), What: "failed (worker)", Detail: "attempt 2: again: twice"},
		{At: at.Add(34 * time.Minute), What: "next attempt (Redis)", ToTheSecond: true},
	}, "it broke", at.Add(22*time.Minute))
	for i, want := range []timelineStep{
		{Title: "Emitted"},
		{Title: "Due"},
		{Title: "Enqueued", After: "15 ms later"},
		{Title: "Failed (worker)", Tone: "warn", After: "21 min 14 s later"},
		{Title: "Failed (worker)", Tone: "warn", After: "45 s later", Error: "again: twice"},
		{Title: "Next attempt", Tone: "later", After: "about 12 min later", Ahead: "in 12 min"},
	} {
		got := steps[i]
		if got.Title != want.Title || got.Tone != want.Tone || got.After != want.After || got.Ahead != want.Ahead || got.Error != want.Error || strings.Contains(got.Detail, "broke") {
			t.Errorf("step %d is %+v, want %+v", i, got, want)
		}
	}
}

func TestAnErrorIsShownOnceAndInShort(t *testing.T) {
	t.Parallel()
	if long := show.NewLongText(strings.Repeat("word ", 100) + "\nsecond line"); !strings.HasSuffix(long.Short, "…") || strings.Contains(long.Short, "second") || !strings.HasSuffix(long.Whole, "second line") {
		t.Errorf("%+v", long)
	}
	if short := show.NewLongText(" two\nlines "); short.Short != "" || short.Whole != "two\nlines" {
		t.Errorf("%+v", short)
	}
	failing := eventPage{
		Life:  &lives.Life{Event: domain.Event{LastError: "the one before"}},
		Tasks: []taskLine{{TaskState: queued.TaskState{LastError: "the last one"}}},
	}
	if got := failing.shownError(); got != "the last one" {
		t.Errorf("the page shows %q", got)
	}
}
