package dashboard_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/handler/dashboard"
	"outboxd/repository/deadletters"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
)

// A double click sends a form twice.
func TestAReplayThatIsSentTwiceIsOneChange(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	b := onDatabase(t, db)
	die(t, db, 3, "timeout", "{}")
	form := b.form(b.page("/dead/change?action=replay&type=pay"), "dead/change")
	form.Set("reason", "a test")
	if other := b.form(b.page("/dead/change?action=replay&type=pay"), "dead/change"); other.Get("form") == form.Get("form") {
		t.Error("two forms have the same token")
	}
	first, second := b.send("/dead/change", form), b.send("/dead/change", form)
	if first != second {
		t.Errorf("sent twice, the form leads to %s and %s", first, second)
	}
	b.ended(first)
	if n := counted(t, db, "SELECT count(*) FROM outbox_actions"); n != 1 {
		t.Errorf("%d actions are recorded, want 1", n)
	}
}

func counted(t *testing.T, db *postgres.Database, query string) (n int) {
	t.Helper()
	if err := db.SQL().QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A form for a corrected copy that is sent twice emits one copy, and both answers lead to it. The payload is as it was
// unless a person changes it, also its line breaks.
func TestACorrectedCopyIsEmittedOnceAndUnchanged(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]string{
		"text": "\nfirst\n\nlast\n", "JSON": `{"a":1}`, "hidden values": `{"a": 1, "card": {"token": "x-1"}}`,
	} {
		db := schematest.Open(t)
		b := browser{t, serving(t, dashboard.Sources{Mask: []string{"token"}, Lives: search.NewLives(db), Corrections: deadletters.New(db)})}
		die(t, db, 1, "timeout", payload)
		var id string
		if err := db.SQL().QueryRowContext(t.Context(), "SELECT id FROM outbox_dead").Scan(&id); err != nil {
			t.Fatal(err)
		}
		path := "/events/" + id + "/correct"
		form := b.form(b.page(path), "/correct")
		form.Set("reason", "a test")
		form.Set("discard", "yes")
		first, second := b.send(path, form), b.send(path, form)
		if first != second {
			t.Errorf("%s: sent twice, the form leads to %s and %s", name, first, second)
		}
		if n, actions := counted(t, db, "SELECT count(*) FROM outbox"), counted(t, db, "SELECT count(*) FROM outbox_actions"); n != 1 || actions != 1 {
			t.Errorf("%s: %d copies and %d actions, want one of each", name, n, actions)
		}
		var copied string
		const read = "SELECT convert_from(payload, 'UTF8') FROM outbox"
		if err := db.SQL().QueryRowContext(t.Context(), read).Scan(&copied); err != nil || copied != payload && name == "text" || !strings.Contains(copied, "1") && name != "text" {
			t.Errorf("%s: the copy has %q, %v, want %q", name, copied, err, payload)
		}
		if name == "hidden values" && !strings.Contains(copied, "x-1") {
			t.Errorf("the copy has %q", copied)
		}
	}
}

// A person goes back to a form that has emitted a copy, and changes the payload.
func TestAFormWithAnotherPayloadAsksOnceMore(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	b := browser{t, serving(t, dashboard.Sources{Lives: search.NewLives(db), Corrections: deadletters.New(db)})}
	die(t, db, 1, "timeout", `{"a":1}`)
	var id string
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT id FROM outbox_dead").Scan(&id); err != nil {
		t.Fatal(err)
	}
	path := "/events/" + id + "/correct"
	form := b.form(b.page(path), "/correct")
	form.Set("reason", "a test")
	first := b.send(path, form)
	form.Set("payload", `{"a":2}`)
	page := b.refused(path, form, 409)
	if !strings.Contains(page, "This form has emitted event "+first[len("/events/"):]+" already, with another payload.") {
		t.Errorf("the page is\n%s", page)
	}
	form = b.form(page, "/correct")
	form.Set("reason", "a test")
	if second := b.send(path, form); second == first || counted(t, db, "SELECT count(*) FROM outbox") != 2 {
		t.Errorf("the second copy is %s", second)
	}
}
