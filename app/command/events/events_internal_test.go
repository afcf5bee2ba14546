package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

// TestTimesAreAsPreciseAsTheyAreKnown prints a step from PostgreSQL with milliseconds, and one from Redis without.
func TestTimesAreAsPreciseAsTheyAreKnown(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 16, 50, 51, 0, time.UTC)
	var life lives.Life
	life.CreatedAt = at
	document := NewEventDocument(&life, []queued.TaskState{{TaskID: "a", NextAt: at.Add(time.Hour)}})
	var table strings.Builder
	EventTable(&table, &document)
	for _, want := range []string{"\n2026-11-25 16:50:51.000\temitted", "\n2026-11-25 17:50:51\tnext attempt"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no line begins with %q:\n%s", want[1:], table.String())
		}
	}
}

// An event that was replayed has the task of its last generation, and perhaps still an archived one of an earlier one.
func TestATaskOfAnEarlierGenerationIsOld(t *testing.T) {
	t.Parallel()
	event := domain.Event{ID: domain.ID{1}, Generation: 1}
	replayed := lives.Life{Event: event}
	moved := lives.Life{Event: domain.Event{ID: event.ID}, Journal: []lives.JournalEntry{{Generation: 1}}} // only the journal has it
	first := domain.Event{ID: event.ID}
	for name, life := range map[string]*lives.Life{"in a table": &replayed, "in the journal": &moved} {
		document := NewEventDocument(life, []queued.TaskState{{TaskID: first.TaskID(), Queue: "q"}, {TaskID: event.TaskID(), Queue: "q"}})
		var table strings.Builder
		EventTable(&table, &document)
		var said []string
		for line := range strings.Lines(table.String()) {
			if name, task, ok := strings.Cut(line, "\t"); ok && strings.HasSuffix(name, "ask") {
				said = append(said, name+" "+strings.Fields(task)[0])
			}
		}
		if want := []string{"Old task " + first.TaskID(), "Task " + event.TaskID()}; !slices.Equal(said, want) {
			t.Errorf("%s: it says %q, want %q", name, said, want)
		}
	}
}

// Tasks that nobody looked for are not known, which is something else than none.
func TestTasksThatAreNotKnownAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tasks []queued.TaskState
		there bool
	}{{nil, false}, {[]queued.TaskState{}, true}} {
		text, err := json.Marshal(NewEventDocument(&lives.Life{}, c.tasks))
		if err != nil || strings.Contains(string(text), `"tasks":[]`) != c.there || strings.Contains(string(text), `"tasks"`) != c.there {
			t.Errorf("%#v: %s, %v", c.tasks, text, err)
		}
	}
}

// TestATooLargePayloadIsRefused reads payloads of up to the limit, and one of a byte more.
func TestATooLargePayloadIsRefused(t *testing.T) {
	t.Parallel()
	const most = 2 << 20
	whole := strings.Repeat("x", most)
	if read, err := readPayload(strings.NewReader(whole), most); err != nil || string(read) != whole {
		t.Errorf("of %d bytes %d were read, %v", most, len(read), err)
	}
	read, err := readPayload(strings.NewReader(whole+"y"), most)
	if mistake, ok := errors.AsType[config.Mistake](err); !ok || !strings.Contains(mistake.Error(), "larger than 2MiB") {
		t.Errorf("of %d bytes %d were read, %v", most+1, len(read), err)
	}
}

// TestLongBytesAreShownInHexadecimal has a payload that is cut, as bytes and as text.
func TestLongBytesAreShownInHexadecimal(t *testing.T) {
	t.Parallel()
	if got := payloadText(bytes.Repeat([]byte{'a', 0xff}, payloadShown)); got != strings.Repeat("61ff", payloadShown/2)+"…" {
		t.Errorf("bytes are shown as %.40q", got)
	}
	if got := payloadText([]byte("a" + strings.Repeat("é", payloadShown))); got != "a"+strings.Repeat("é", payloadShown/2-1)+"…" {
		t.Errorf("a text is shown as %.40q, in %d bytes", got, len(got))
	}
}

func TestASearchThatStoppedSaysThatItFoundNothingSoFar(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	eventListTable(&text, &EventListDocument{GaveUp: true, Examined: 55_000, Next: &domain.ID{1}})
	if said := text.String(); !strings.HasPrefix(said, "None found so far: 55,000 events were looked at. There may be more among the others that you chose: --after ") {
		t.Errorf("it says %q", said)
	}
}

// stopping is a reader whose searches stop early and find nothing, except that of the last events.
type stopping struct {
	lives.Reader
	searches byte
}

func (s *stopping) Search(_ context.Context, _ lives.Filter, before domain.ID, _ int) (lives.Page, error) {
	if before != (domain.ID{s.searches}) {
		return lives.Page{}, fmt.Errorf("search %d begins before %s", s.searches, before)
	}
	s.searches++
	if s.searches == 3 {
		return lives.Page{Events: []lives.Summary{{ID: domain.ID{9}}}, Examined: 1}, nil
	}
	return lives.Page{GaveUp: true, Next: domain.ID{s.searches}, Examined: 50_000}, nil
}

func TestASearchGoesOnUntilItFindsSomething(t *testing.T) {
	t.Parallel()
	page, err := findSome(t.Context(), &stopping{}, lives.Filter{}, domain.ID{}, 10, time.Minute)
	if err != nil || len(page.Events) != 1 || page.GaveUp || page.Examined != 100_001 {
		t.Errorf("%+v, %v", page, err)
	}
}

// The result of a retry says whether its number has the canary, and what became of the other events.
func TestARetrySaysWhatBecameOfTheOtherEvents(t *testing.T) {
	t.Parallel()
	retry := failingChange{past: "Retried", again: true}
	for want, d := range map[string]FailingChangeDocument{
		"Retried 7 of 7 failing events, with the 3 of the canary.\n":                                              {Matched: 7, Changed: 7, Canary: &retryCanaryDocument{Retried: 3}},
		"Retried 3 of 12 failing events, with the 3 of the canary; 9 keep their planned attempts.\n":              {Matched: 12, Changed: 3, Left: 9, Canary: &retryCanaryDocument{Retried: 3}},
		"Retried 9 of 12 failing events; 2 were tried meanwhile; 1 keeps its planned attempt.\nEvents whose next": {Matched: 12, Changed: 9, TriedMeanwhile: 2, Left: 1},
	} {
		var table strings.Builder
		retry.table(&table, &d, "")
		if !strings.Contains(table.String(), want) {
			t.Errorf("it says %q, want %q", table.String(), want)
		}
	}
}

// onePage is a reader whose search finds one page.
type onePage struct {
	lives.Reader
	page lives.Page
}

func (o onePage) Search(context.Context, lives.Filter, domain.ID, int) (lives.Page, error) {
	return o.page, nil
}

// cancelling returns a run of events cancel, and the events that it cancels.
func cancelling() (run *eventChangeRun, cancelled *[]domain.ID) {
	cancelled = new([]domain.ID)
	return &eventChangeRun{
		eventChange: &eventChange{past: "Cancelled", done: domain.ChangeCancelled, states: lives.States(), change: func(_ context.Context, _ domain.EventChanges, _ *domain.Action, ids []domain.ID) (changes []domain.Change, _ error) {
			for _, id := range ids {
				changes = append(changes, domain.Change{ID: id, Answer: domain.ChangeCancelled})
			}
			*cancelled = append(*cancelled, ids...)
			return changes, nil
		}},
		action: &domain.Action{},
		result: &EventChangeDocument{Answers: map[domain.ChangeAnswer]int64{}},
	}, cancelled
}

// Without Redis, failing events are listed as in flight. A choice that leaves them out must not take them.
func TestWithoutRedisNoEventIsTakenThatIsLeftOut(t *testing.T) {
	t.Parallel()
	found := onePage{page: lives.Page{Events: []lives.Summary{{ID: domain.ID{1}, State: lives.StateInFlight}}, QueueFault: "connection refused"}}
	run, cancelled := cancelling()
	err := run.takeFrom(t.Context(), found, lives.Filter{State: lives.StateInFlight})
	if domain.ErrorCode(err) != domain.CodeUnavailable || !strings.Contains(err.Error(), "connection refused") || len(*cancelled) > 0 {
		t.Errorf("%v, %v were cancelled", err, *cancelled)
	}
	if err := run.takeFrom(t.Context(), found, lives.Filter{Type: "a"}); err != nil || len(*cancelled) != 1 {
		t.Errorf("of failing and other events: %v, %v were cancelled", err, *cancelled)
	}
}

// A search for failing events reads a bounded number of tasks of each queue. What is changed then is not all.
func TestAChangeSaysThatFailingEventsWereNotRead(t *testing.T) {
	t.Parallel()
	found := onePage{page: lives.Page{Events: []lives.Summary{{ID: domain.ID{1}, State: lives.StateFailing}}, Incomplete: true}}
	for _, erases := range []bool{false, true} {
		run, cancelled := cancelling()
		run.inRedis = erases
		run.changes = noTasks{}
		if err := run.takeFrom(t.Context(), found, lives.Filter{State: lives.StateFailing}); err != nil || len(*cancelled) != 1 {
			t.Errorf("%v, %v were cancelled", err, *cancelled)
		}
		document, err := json.Marshal(run.result)
		if err != nil || !strings.Contains(string(document), `"more":true`) {
			t.Errorf("%s, %v", document, err)
		}
		var table strings.Builder
		if run.table(&table, run.result); !strings.HasSuffix(table.String(), "Cancelled 1 of 1 event.\nThere may be more: run it again.\n") {
			t.Errorf("it says %q", table.String())
		}
		if err := run.rest(); (err != nil) != erases {
			t.Errorf("erases: %t, it ends with %v", erases, err)
		}
	}
}

// noTasks is a database whose changed events have no tasks.
type noTasks struct{ domain.EventChanges }

func (noTasks) Tasks(context.Context, []domain.ID) (tasks []domain.Event, _ error) { return nil, nil }
