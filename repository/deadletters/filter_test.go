package deadletters_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/client"
	"outboxd/domain"
	"outboxd/repository/deadletters"
)

// Each part of a filter chooses what it names, in lists, counts and groups, and leaves out the rest.
func TestDeadLettersAreChosen(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	// PostgreSQL may search many dead letters in parallel; these settings make it do so
	// with few.
	servertest.Execute(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET parallel_setup_cost = 0', current_database());
		EXECUTE format('ALTER DATABASE %I SET parallel_tuple_cost = 0', current_database()); EXECUTE format('ALTER DATABASE %I SET min_parallel_table_scan_size = 0', current_database()); END $$`)
	db := schematest.Connect(t, url)
	letters := deadletters.New(db)
	for _, l := range []struct{ name, kind, payload, headers, key, error string }{
		{"ada", "mail", `{"to": "ada", "order": {"customer": 42, "tags": ["x", "y"]}}`, `{"tenant": "acme"}`, "k1", "timeout after 30 s"},
		{"bob", "mail", `{"to": "bob", "order": {"customer": 421}}`, `{"tenant": "other"}`, "", "no such user 7"},
		{"eve", "mail", `not JSON, "to": "ada"`, `{}`, "", "no such user 8"},
		{"raw", "bytes", "\xff\xfe42", `{"tenant": ""}`, "", "Timeout"},
	} {
		exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at, last_error, ordering_key, ordering_position)
			VALUES (outbox_new_id(), $1, $2, $3, 'default', now(), 1, 0, now(), 'worker', $4, now() - interval '1 hour', $5, nullif($6, ''), CASE WHEN $6 <> '' THEN 1 END)`,
			l.kind, []byte(l.payload), l.headers, l.error, l.name, l.key)
	}
	not := func(texts ...string) domain.DeadFilter {
		t.Helper()
		fields, err := domain.ParsePayloadFields(texts)
		if err != nil {
			t.Fatal(err)
		}
		return domain.DeadFilter{NotFields: fields}
	}
	field := func(text string) domain.PayloadField {
		t.Helper()
		f, err := domain.ParsePayloadField(text)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for want, filters := range map[string][]domain.DeadFilter{
		"ada bob eve raw": {{}, {NotKeys: []string{"k"}}, {NotHeaders: []domain.Header{{Name: "tenant", Value: "none"}}}, {NotErrors: []string{}}, {Since: time.Now().Add(-2 * time.Hour)}, not(""), not("order.customer=4", "to=_da*", "to='; --", "none")},
		"ada":             {{OrderingKey: "k1"}, {HeaderName: "tenant", HeaderValue: "acme"}, {Payload: field("order.customer=42")}, {Payload: field("to=ada")}, {Payload: field("order.tags.1=y")}, {Payload: field("to=a*")}},
		"ada bob":         {{Payload: field("order.customer")}, {Payload: field("to")}, {Payload: field("order.customer=42*")}, {Payload: field("to=*")}},
		"ada raw":         {{NotErrors: []string{"SUCH user"}}, {NotForms: []string{"no such user #"}}, {NotErrors: []string{"nothing", "user"}}},
		"ada bob raw":     {{HeaderName: "tenant"}},
		"ada bob eve":     {{NotTypes: []string{"bytes"}}, {NotTypes: []string{"by*", "none*"}}},
		"bob eve":         {{ErrorForm: "no such user #"}, {NotErrors: []string{"timeout"}}},
		"eve":             {{NotHeaders: []domain.Header{{Name: "tenant"}}}},
		"bob eve raw":     {{NotKeys: []string{"k0", "k1"}}, {NotHeaders: []domain.Header{{Name: "tenant", Value: "acme"}, {Name: "none"}}}, not("order.customer=42"), not("to=a*"), not("order.tags.1=y", "none"), not("order.tags")},
		"eve raw":         {not("order.customer=42*"), not("to"), not("to=bob", "order.tags.0=x"), not("to=*")},
		"bob":             {{Payload: field("to"), NotFields: not("to=ada").NotFields}},
		"":                {{Since: time.Now().Add(-time.Minute)}, {Payload: field("order.customer=4")}, {Payload: field("to=_da*")}, {Payload: field("to=%*")}, {Payload: field("order=42")}, {Payload: field(`order={"customer"*`)}, {Payload: field("order.tags=[*")}},
	} {
		for _, filter := range filters {
			list, err := letters.List(t.Context(), filter, domain.Cursor{}, 10)
			var names []string
			for _, d := range list {
				names = append(names, d.LastError)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); err != nil || got != want {
				t.Errorf("%+v chooses %q, want %q: %v", filter, got, want, err)
			}
			n, err := letters.Count(t.Context(), filter, 0, 0)
			if err != nil || int(n.Matched) != len(list) {
				t.Errorf("%+v: %d are counted and %d listed, %v", filter, n.Matched, len(list), err)
			}
			groups, _, err := letters.Groups(t.Context(), filter, 10)
			grouped := 0
			for _, g := range groups {
				grouped += g.Count
			}
			if err != nil || grouped != len(list) {
				t.Errorf("%+v: %d are grouped and %d listed, %v", filter, grouped, len(list), err)
			}
		}
	}
	// The filter chooses two of the four dead letters. The replay leaves the other two.
	replayed, err := letters.Replay(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{NotErrors: []string{"no such user"}}, 10)
	if err != nil || len(replayed) != 2 || count(t, db, "SELECT count(*) FROM outbox_dead") != 2 {
		t.Errorf("%+v, %v", replayed, err)
	}
	if n, err := letters.Discard(t.Context(), &domain.Action{Actor: "ada"}, not("to", "order"), 10); err != nil || n != 1 {
		t.Errorf("%d discarded, %v, want the one whose payload is not JSON", n, err)
	}
	if n, err := letters.Discard(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{Payload: field("to=bob")}, 10); err != nil || n != 1 {
		t.Errorf("%d discarded, %v", n, err)
	}
}

// A time that is relative to now stays what it was when work in several steps began.
func TestFiltersOfDeadLettersStandStill(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := domain.DeadFilter{NewerThan: time.Hour, OlderThan: time.Minute}.At(now)
	if f.NewerThan != 0 || f.OlderThan != 0 || !f.Since.Equal(now.Add(-time.Hour)) || !f.Until.Equal(now.Add(-time.Minute)) {
		t.Errorf("%+v", f)
	}
	if f := (domain.DeadFilter{Since: now.Add(-time.Minute), NewerThan: time.Hour, Until: now.Add(time.Hour)}).At(now); !f.Since.Equal(now.Add(-time.Minute)) || !f.Until.Equal(now) {
		t.Errorf("%+v", f)
	}
}

// A corrected copy is a new event with the options of the old one and another payload. Each names the other.
func TestCorrectedCopies(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	action := func() *domain.Action { return &domain.Action{Actor: "ada", Reason: "it was in cents"} }
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, max_retry, deadline, available_at, attempts, generation, created_at, stage, error, ordering_key, ordering_position)
		VALUES ('01980000-0000-7000-8000-000000000001', 'pay', '{"amount": 100}', '{"tenant": "acme"}', 'money', 3, now() - interval '1 day', now(), 5, 2, now(), 'worker', 'too much', 'k', 1)`)
	id := domain.ID{1, 0x98, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}
	done := action()
	copied, err := letters.Correct(t.Context(), done, domain.Correction{Of: id, Payload: []byte(`{"amount": 1}`)})
	if err != nil || copied == id {
		t.Fatalf("%v, %v", copied, err)
	}
	if n := count(t, db, `SELECT count(*) FROM outbox WHERE id = $1 AND event_type = 'pay' AND payload = '{"amount": 1}' AND queue = 'money' AND max_retry = 3 AND deadline IS NULL
		AND headers = jsonb_build_object('tenant', 'acme', 'outboxd-corrects', $2::text) AND ordering_key = 'k' AND generation = 0 AND attempts = 0`, [16]byte(copied), id.String()); n != 1 {
		t.Error("the copy is another event than expected")
	}
	if n := count(t, db, `SELECT count(*) FROM outbox_journal WHERE event_id = $1 AND entry = 'corrected' AND detail = $2`, [16]byte(id), fmt.Sprintf("by ada: it was in cents; the corrected copy is event %s", copied)); n != 1 {
		t.Error("the journal does not name the copy")
	}
	if n := count(t, db, `SELECT count(*) FROM outbox_actions WHERE id = $1 AND action = 'correct' AND events = 1 AND filter ->> 'emitted' = $2`, [16]byte(done.ID), copied.String()); n != 1 {
		t.Error("the action is not on record")
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_dead"); n != 1 {
		t.Errorf("%d dead letters, want the old one", n)
	}
	if _, err := letters.Correct(t.Context(), action(), domain.Correction{Of: id, Discard: true}); err != nil || count(t, db, "SELECT count(*) FROM outbox_dead") != 0 || count(t, db, "SELECT count(*) FROM outbox") != 2 {
		t.Errorf("with the old one discarded: %v", err)
	}
	// The old dead letter is gone with its payload, and only copies are left. Correct can also copy a pending event.
	for name, c := range map[string]struct {
		id      domain.ID
		payload []byte
		discard bool
		code    domain.Code
	}{
		"an event that is not kept":    {id, nil, false, domain.CodeNotFound},
		"a pending event":              {copied, []byte("x"), false, ""},
		"a discard of a pending event": {copied, []byte("x"), true, domain.CodeConflict},
		"a payload that is too large":  {copied, make([]byte, 2<<20), false, domain.CodeTooLarge},
	} {
		before := count(t, db, "SELECT count(*) FROM outbox")
		_, err := letters.Correct(t.Context(), action(), domain.Correction{Of: c.id, Payload: c.payload, Discard: c.discard})
		if domain.ErrorCode(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
		if after := count(t, db, "SELECT count(*) FROM outbox"); after-before != map[bool]int{true: 1, false: 0}[err == nil] {
			t.Errorf("%s: %d events before and %d after", name, before, after)
		}
	}
}

// A form that is sent twice emits one copy, however far the first copy has come by then.
func TestACopyIsEmittedOnce(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]string{"at once": "", "afterwards": "SELECT 1", "after a relay took the first": "DELETE FROM outbox"} {
		db := schematest.Open(t)
		letters := deadletters.New(db)
		exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
			VALUES ('01980000-0000-7000-8000-000000000001', 'pay', '{}', '{}', 'money', now(), 5, 2, now(), 'worker', 'too much')`)
		c := domain.Correction{
			Of: domain.ID{1, 0x98, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}, As: domain.ID(client.NewID()), Payload: []byte("x"), Discard: true,
		}
		correct := func() {
			if copied, err := letters.Correct(t.Context(), &domain.Action{Actor: "ada", Reason: "twice"}, c); err != nil || copied != c.As {
				t.Errorf("%s: %v, %v, want %v", name, copied, err, c.As)
			}
		}
		var both sync.WaitGroup
		if between == "" {
			both.Go(correct)
		} else {
			correct()
			exec(t, db, between)
		}
		before := count(t, db, "SELECT count(*) FROM outbox")
		correct()
		both.Wait()
		if between == "" {
			before = 1
		}
		if n := count(t, db, "SELECT count(*) FROM outbox"); n != before {
			t.Errorf("%s: %d copies, want %d", name, n, before)
		}
		if n := count(t, db, "SELECT count(*) FROM outbox_actions"); n != 1 {
			t.Errorf("%s: %d actions are recorded, want 1", name, n)
		}
		c.Of = domain.ID{9}
		exec(t, db, "INSERT INTO outbox (id, event_type, payload) VALUES ('09000000-0000-0000-0000-000000000000', 'other', 'x')")
		exec(t, db, "INSERT INTO outbox (id, event_type, payload) VALUES ($1, 'taken', 'x') ON CONFLICT DO NOTHING", c.As.String())
		c.Discard = false
		if _, err := letters.Correct(t.Context(), &domain.Action{Actor: "ada"}, c); domain.ErrorCode(err) != domain.CodeConflict {
			t.Errorf("%s: with the ID of another event: %v, want a conflict", name, err)
		}
	}
}
