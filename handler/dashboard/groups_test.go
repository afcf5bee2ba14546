package dashboard_test

import (
	"context"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/queued"
	"outboxd/handler/dashboard"
)

// Dead letters are grouped by type, error and stage. The links of a group choose just this group, also if its error is
// empty, and what is beside it.
func TestTheLinksOfAGroupChooseTheGroup(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	b := onDatabase(t, db)
	die(t, db, 3, "", "{}")
	die(t, db, 2, "timeout", "{}")
	if _, err := db.SQL().ExecContext(t.Context(), "UPDATE outbox_dead SET stage = 'relay' WHERE id IN (SELECT id FROM outbox_dead WHERE error = 'timeout' LIMIT 1)"); err != nil {
		t.Fatal(err)
	}
	only, others := b.link(b.page("/dead"), "/dead", "only these"), b.link(b.page("/dead"), "/dead", "not this error")
	for path, want := range map[string]string{
		only:   "<strong>3</strong> dead letters match: of type pay, given up by worker, whose error is empty.",
		others: "<strong>2</strong> dead letters match: of type pay, whose error is not empty.",
		b.link(b.page("/dead?error=timeout"), "/dead", "only these"):                  "<strong>1</strong> dead letter matches: of type pay, whose error contains timeout, given up by ",
		"/dead?" + b.form(b.page("/dead?type=pay&empty-error=only"), "dead").Encode(): "<strong>3</strong> dead letters match: of type pay, whose error is empty.",
		"/dead?type=pay&stage=relay":                                                  "<strong>1</strong> dead letter matches: of type pay, given up by relay.",
	} {
		if page := b.page(path); !strings.Contains(strings.Join(strings.Fields(page), " "), want) {
			t.Errorf("%s does not say %q:\n%s", path, want, page)
		}
	}
	for _, wrong := range []string{"empty-error=yes", "stage=none"} {
		if a := b.s.Get("/dead/change?action=discard&type=pay&" + wrong); a.Status != 422 {
			t.Errorf("%s: %d %s", wrong, a.Status, a.Body)
		}
	}
	form := b.form(b.page(b.link(b.page(only), "/dead", "Discard all 3…")), "dead/change")
	form.Set("reason", "a test")
	b.ended(b.send("/dead/change", form))
	if n := dead(t, db, "error = 'timeout'"); n != 2 || dead(t, db, "true") != 2 {
		t.Errorf("%d of the others are left, want 2", n)
	}
}

// silence is a Redis with failing tasks, one of which has no error text, and one is of another program.
type silence struct{ queued.FailingTasks }

func (silence) Summary(context.Context) (queued.FailingSummary, error) {
	return queued.FailingSummary{Tasks: 2, Groups: []queued.FailingGroup{{Type: "a", Queue: "q", Tasks: 1}, {Queue: "q", Tasks: 1}}}, nil
}

func (silence) All(context.Context, int) ([]queued.TaskRef, bool, error) {
	return []queued.TaskRef{{Queue: "q", TaskID: domain.ID{1}.String()}, {Queue: "q", TaskID: domain.ID{2}.String()}}, false, nil
}

func (silence) Failing(context.Context, []queued.TaskRef) (map[string]queued.FailingTask, error) {
	found := map[string]queued.FailingTask{}
	for i, fault := range []string{"", "timeout"} {
		ref := queued.TaskRef{Queue: "q", TaskID: domain.ID{byte(i + 1)}.String()}
		found[ref.TaskID] = queued.FailingTask{TaskRef: ref, Type: "a", Error: fault}
	}
	return found, nil
}

func TestAGroupOfFailingEventsWithoutAnErrorIsGivenUpAlone(t *testing.T) {
	t.Parallel()
	known := func(_ context.Context, ids []domain.ID) ([]domain.ID, error) { return ids, nil }
	b := browser{t, serving(t, dashboard.Sources{Failing: &failing.Change{Tasks: silence{}, Known: known}})}
	page := b.page("/failing")
	if n := strings.Count(page, ">Give up…<"); n != 1 {
		t.Errorf("%d of the groups can be given up, want the one with a type", n)
	}
	if form := b.page(b.link(page, "/failing", "Give up…")); !strings.Contains(form, "Give up: 1 failing event<") || !strings.Contains(form, "without an error text") || !strings.Contains(form, "Those that had failed by ") {
		t.Errorf("the form is\n%s", form)
	}
}
