package dashboard_test

import (
	"net/url"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/handler/dashboard"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
	"outboxd/repository/deadletters"
	"outboxd/repository/postgres"
)

// onDatabase serves pages about the dead letters of a database.
func onDatabase(t *testing.T, db *postgres.Database) browser {
	t.Helper()
	return browser{t, serving(t, dashboard.Sources{Dead: deadletters.New(db), Corrections: deadletters.New(db)})}
}

// serving serves pages without servers to a visitor who may do everything.
func serving(t *testing.T, sources dashboard.Sources) *handlertest.Site {
	t.Helper()
	return servedWith(t, sources, func(o *monitor.Options) { o.AdminToken = handlertest.AdminToken })
}

// die writes dead letters of one error and payload.
func die(t *testing.T, db *postgres.Database, n int, fault, payload string) {
	t.Helper()
	if _, err := db.SQL().ExecContext(t.Context(), `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		SELECT outbox_new_id(), 'pay', convert_to($3, 'UTF8'), '{}', 'default', now(), 1, 0, now(), 'worker', $2 FROM generate_series(1, $1)`, n, fault, payload); err != nil {
		t.Fatal(err)
	}
}

func dead(t *testing.T, db *postgres.Database, where string) (n int) {
	t.Helper()
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT count(*) FROM outbox_dead WHERE "+where).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A browser changes line breaks in the fields of a form. The form must choose what the page showed, whatever the texts
// of the choice are.
func TestAChoiceWithLineBreaksIsSentBackUnchanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ fault, payload, choice, left string }{
		"not this error":      {"first line\nsecond line", `{}`, "type=pay&not-error-form=first+line%0Asecond+line", "error LIKE 'first%'"},
		"not this error, CR":  {"first line\r\nsecond line", `{}`, "type=pay&not-error-form=first+line%0D%0Asecond+line", "error LIKE 'first%'"},
		"not this text":       {"first line\nsecond line", `{}`, "type=pay&not-error=line%0Asecond", "error LIKE 'first%'"},
		"not this field":      {"other", `{"address": "a\nb"}`, "type=pay&not-field=address%3Da%0Ab", "convert_from(payload, 'UTF8') LIKE '%address%'"},
		"a percent and a ; &": {"100%0A; &a=b #", `{}`, "type=pay&not-error-form=" + url.QueryEscape("#%#A; &a=b #"), "error LIKE '%;%'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			b := onDatabase(t, db)
			die(t, db, 10, c.fault, c.payload)
			die(t, db, 90, "timeout", "{}")
			change := "/dead/change?action=discard&" + c.choice
			// The visitor may search once more before, which sends the choice through another form.
			if searched := b.page("/dead?" + b.form(b.page("/dead?"+c.choice), "dead").Encode()); !strings.Contains(searched, "<strong>90</strong> dead letters match") {
				t.Errorf("after another search the page is\n%s", searched)
			} else {
				change = b.link(searched, "/dead", "Discard all 90…")
			}
			page := b.page(change)
			if !strings.Contains(page, "<h1>Discard 90 dead letters</h1>") {
				t.Fatalf("the form is\n%s", page)
			}
			form := b.form(page, "dead/change")
			form.Set("reason", "a test")
			if page := b.ended(b.send("/dead/change", form)); !strings.Contains(page, "<strong>90</strong> of 90 dead letters discarded") {
				t.Errorf("the change ended with\n%s", page)
			}
			if all, left := dead(t, db, "true"), dead(t, db, c.left); all != 10 || left != 10 {
				t.Errorf("%d dead letters are left, %d of them left out by the form; want 10", all, left)
			}
		})
	}
}
