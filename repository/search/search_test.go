package search_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
)

// The function found returns the types and states of the events that a search finds, page by page.
func found(t *testing.T, db *postgres.Database, filter lives.Filter, limit int) (list []string) {
	t.Helper()
	reader := search.NewLives(db)
	var before domain.ID
	for {
		page, err := reader.Search(t.Context(), filter, before, limit)
		if err != nil {
			t.Fatalf("search %+v: %v", filter, err)
		}
		if len(page.Events) > limit || page.GaveUp {
			t.Fatalf("search %+v: %d events, gave up: %t", filter, len(page.Events), page.GaveUp)
		}
		for _, e := range page.Events {
			list = append(list, e.Type+"="+string(e.State))
		}
		if page.Next.IsZero() {
			return list
		}
		before = page.Next
	}
}

func TestEventsAreSearched(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: true})
	write := func(kind, columns string) domain.ID {
		t.Helper()
		exec(t, db, fmt.Sprintf("INSERT INTO outbox (event_type, payload, %s", columns))
		return find(t, db, kind)
	}
	died := write("a:dead", `queue) VALUES ('a:dead', 'x', 'low')`)
	die(t, store, "it broke")
	first := write("b:first", `ordering_key) VALUES ('b:first', 'x', 'k')`)
	confirmed := write("c:confirmed", `headers) VALUES ('c:confirmed', 'xyz', '{"tenant": "acme", "html": "<b>"}')`)
	relayAll(t, store)
	write("d:held", `ordering_key) VALUES ('d:held', 'x', 'k')`)
	if events := claimEvents(t, store).Events(); len(events) != 0 {
		t.Fatalf("%d events of a key were claimed that is not theirs", len(events))
	}
	exec(t, db, "INSERT INTO inbox VALUES ($1)", confirmed)
	between := time.Now()
	later := write("e:pending", `available_at) VALUES ('e:pending', 'x', now() + interval '1 hour')`)
	all := []string{"e:pending=pending", "d:held=held", "c:confirmed=confirmed", "b:first=in flight", "a:dead=dead"}
	for _, c := range []struct {
		name   string
		filter lives.Filter
		want   []string
	}{
		{"all", lives.Filter{}, all},
		{"by ID", lives.Filter{ID: confirmed}, all[2:3]},
		{"by type", lives.Filter{Type: "d:held"}, all[1:2]},
		{"by the beginning of a type", lives.Filter{Type: "d:*"}, all[1:2]},
		{"by the beginning of a queue", lives.Filter{Queue: "l*"}, all[4:]},
		{"by any type", lives.Filter{Type: "*"}, all},
		{"by queue", lives.Filter{Queue: "low"}, all[4:]},
		{"by key", lives.Filter{OrderingKey: "k"}, []string{all[1], all[3]}},
		{"pending", lives.Filter{State: lives.StatePending}, all[:1]},
		{"held", lives.Filter{State: lives.StateHeld}, all[1:2]},
		{"open", lives.Filter{Open: true}, []string{all[0], all[1], all[3]}},
		{"open and in flight", lives.Filter{Open: true, State: lives.StateInFlight}, all[3:4]},
		{"open and confirmed", lives.Filter{Open: true, State: lives.StateConfirmed}, nil},
		{"in flight", lives.Filter{State: lives.StateInFlight}, all[3:4]},
		{"confirmed", lives.Filter{State: lives.StateConfirmed}, all[2:3]},
		{"dead", lives.Filter{State: lives.StateDead}, all[4:]},
		{"not confirmed", lives.Filter{NotStates: []lives.State{lives.StateConfirmed}}, []string{all[0], all[1], all[3], all[4]}},
		{"not in flight and not failing", lives.Filter{NotStates: []lives.State{lives.StateInFlight, lives.StateFailing}}, []string{all[0], all[1], all[2], all[4]}},
		{"not failing", lives.Filter{NotStates: []lives.State{lives.StateFailing}}, all}, // only Redis knows what fails
		{"not dead and not held", lives.Filter{NotStates: []lives.State{lives.StateDead, lives.StateHeld}}, []string{all[0], all[2], all[3]}},
		{"dead and not dead", lives.Filter{State: lives.StateDead, NotStates: []lives.State{lives.StateDead}}, nil},
		{"by header name", lives.Filter{HeaderName: "tenant"}, all[2:3]},
		{"by header", lives.Filter{HeaderName: "tenant", HeaderValue: "acme"}, all[2:3]},
		{"without a header", lives.Filter{NotHeaders: []domain.Header{{Name: "tenant", Value: "acme"}}, HeaderName: "tenant"}, nil},
		{"without other headers", lives.Filter{NotHeaders: []domain.Header{{Name: "tenant", Value: "other"}, {Name: "none"}}, HeaderName: "tenant"}, all[2:3]},
		{"by another header value", lives.Filter{HeaderName: "tenant", HeaderValue: "other"}, nil},
		{"since", lives.Filter{Since: between}, all[:1]},
		{"until", lives.Filter{Until: between.Add(-time.Hour)}, nil},
		{"since and until", lives.Filter{Since: between.Add(-time.Hour), Until: between.Add(time.Hour), Queue: "low"}, all[4:]},
	} {
		for _, limit := range []int{1, 2, 100} {
			if got := found(t, db, c.filter, limit); strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("%s, %d at a time: %q, want %q", c.name, limit, got, c.want)
			}
			if n, err := search.NewLives(db).Count(t.Context(), c.filter, limit, time.Minute); err != nil || !n.All || n.Events != int64(min(len(c.want), limit)) {
				t.Errorf("%s, counted up to %d: %+v, %v, want %d", c.name, limit, n, err, len(c.want))
			}
		}
	}
	page, err := search.NewLives(db).Search(t.Context(), lives.Filter{}, domain.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	e := page.Events
	switch {
	case e[0].ID != later || time.Until(e[0].Since) < 50*time.Minute:
		t.Errorf("the pending event is %+v", e[0])
	case e[1].WaitsFor != first || e[1].OrderingKey != "k":
		t.Errorf("the held event is %+v, want one that waits for %s", e[1], first)
	case e[2].PayloadBytes != 3:
		t.Errorf("the confirmed event is %+v, want 3 bytes", e[2])
	case e[4].ID != died || e[4].Error != "it broke" || e[4].Attempts != 1:
		t.Errorf("the dead event is %+v", e[4])
	}
}

func TestASearchSaysHowLongConfirmedEventsAreKept(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	for _, want := range []time.Duration{0, 25 * time.Hour} {
		exec(t, db, "UPDATE outbox_queue_identity SET history_seconds = $1", want.Seconds())
		page, err := search.NewLives(db).Search(t.Context(), lives.Filter{Type: "none"}, domain.ID{}, 10)
		if err != nil || len(page.Events) != 0 || page.History != want {
			t.Errorf("%+v, %v, want no event and a history of %s", page, err, want)
		}
	}
}

// There are a million events. With and without statistics, and for a custom and
// a generic plan, every table is read by its IDs only. The number of rows read
// is bounded, whether any event matches or not.
func TestSearchIsBounded(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	conn, run := repositorytest.Session(t, db)
	run("ALTER TABLE outbox SET (autovacuum_enabled = false)")
	run("ALTER TABLE outbox DISABLE TRIGGER USER; ALTER TABLE inbox DISABLE TRIGGER USER; ALTER TABLE outbox_sent DROP CONSTRAINT outbox_sent_pkey") // this saves a minute
	// Write IDs in no order, which is the worst case for an index.
	run(`INSERT INTO outbox (id, event_type, payload) SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, 'test:a', 'payload' FROM generate_series(1, 100000) n`)
	run(`INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT overlay(md5(n::text) placing '4' from 13 for 1)::uuid, 'test:a', 'payload', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 900000) n`)
	run("ALTER TABLE outbox_sent ADD CONSTRAINT outbox_sent_pkey PRIMARY KEY (id, sent_at)")
	run(`INSERT INTO inbox (event_id, processed_at) SELECT id, now() - interval '1 hour' FROM outbox_sent ORDER BY id DESC LIMIT 100000`)
	statements := map[string]string{"search": search.SearchStatement, "counting": search.CountStatement}
	for name, statement := range statements {
		run("PREPARE " + name + " (uuid, uuid, text[], bigint, text, text, text, text, text, text, bigint, text[], text, bytea, text, text[], text[], text[], text[], bytea[], text[], text[], text[], timestamptz) AS " + statement)
	}
	const zero, last = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
	for _, statistics := range []string{"", "ANALYZE outbox, outbox_sent, inbox"} {
		run(statistics)
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			run("SET plan_cache_mode = " + mode)
			run("SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off")
			for name := range statements {
				plan := explain(t, conn, fmt.Sprintf(
					"EXPLAIN EXECUTE %s ('%s', '%s', '{pending,held,\"in flight\",dead,suppressed}', 10000, 'none', '', '', '', '', 'confirmed', 50, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)", name, zero, last))
				for _, table := range []string{"outbox", "outbox_sent_default", "outbox_held", "outbox_dead", "inbox"} {
					if strings.Contains(plan, "Seq Scan on "+table+" ") {
						t.Errorf("%s: %s is scanned, %s, %q:\n%s", name, table, mode, statistics, plan)
					}
				}
				if !strings.Contains(plan, "Index Scan Backward using outbox_pkey") || !strings.Contains(plan, "Index Scan Backward using outbox_sent_default_pkey") ||
					strings.Contains(plan, "Bitmap") || strings.Contains(strings.ReplaceAll(plan, "HashAggregate", ""), "Hash") {
					t.Errorf("%s, %s, %q:\n%s", name, mode, statistics, plan)
				}
			}
		}
	}
	run(`INSERT INTO outbox_actions (at, actor, action, filter) SELECT now() - n * interval '1 minute', 'ada', CASE WHEN n % 2 = 0 THEN 'pause' ELSE 'resume' END, jsonb_build_object('queue', 'q' || n % 3)
		FROM generate_series(1, 60000) n`)
	run("RESET ALL; ANALYZE outbox_actions")
	repositorytest.WantBounded(t, conn, search.PageStatements(), search.CountLimit, search.CountLimit)
	reader := search.NewLives(db)
	for _, filter := range []lives.Filter{{Type: "none"}, {State: lives.StateInFlight}, {HeaderName: "none"}, {OrderingKey: "none", State: lives.StatePending}} {
		page, err := reader.Search(t.Context(), filter, domain.ID{}, 50)
		if err != nil || len(page.Events) > 0 || !page.GaveUp || page.Next.IsZero() || page.Examined > 150_000 {
			t.Errorf("%+v: %d events, %d examined, gave up %t, next %s, %v", filter, len(page.Events), page.Examined, page.GaveUp, page.Next, err)
		}
		t.Logf("%+v: %d examined", filter, page.Examined)
		began := time.Now()
		n, err := reader.Count(t.Context(), filter, 10_001, 100*time.Millisecond)
		t.Logf("%+v: counted %+v in %s", filter, n, time.Since(began))
		if err != nil || n.All || n.Events > 0 && filter.State != lives.StateInFlight {
			t.Errorf("%+v: counted %+v, %v", filter, n, err)
		}
	}
	if page, err := reader.Search(t.Context(), lives.Filter{Type: "test:a"}, domain.ID{}, 50); err != nil || len(page.Events) != 50 || page.Examined > 1000 {
		t.Errorf("%d events, %d examined, %v: want a page after one step", len(page.Events), page.Examined, err)
	}
	began := time.Now()
	n, err := reader.Count(t.Context(), lives.Filter{Type: "test:a"}, 10_001, 100*time.Millisecond)
	t.Logf("counted %+v in %s", n, time.Since(began))
	if err != nil || n.Events == 0 || n.All != (n.Events == 10_001) {
		t.Errorf("counted %+v, %v", n, err)
	}
	// Without patience one step is read, even if it finds nothing, and the next search goes on where it ended.
	impatient := reader.Within(0)
	first, err := impatient.Search(t.Context(), lives.Filter{Payload: domain.PayloadField{Path: []string{"none"}, Any: true}}, domain.ID{}, 50)
	if err != nil || !first.GaveUp || first.Next.IsZero() || first.Examined > 1000 {
		t.Errorf("without patience: %+v, %v", first, err)
	}
	second, err := impatient.Search(t.Context(), lives.Filter{Payload: domain.PayloadField{Path: []string{"none"}, Any: true}}, first.Next, 50)
	if err != nil || !second.GaveUp || second.Next.String() >= first.Next.String() {
		t.Errorf("the search goes on after %s to %+v, %v", first.Next, second, err)
	}
	if n, err := reader.Count(t.Context(), lives.Filter{Type: "test:a"}, 1_000_000, 0); err != nil || n.All || n.Events == 0 || n.Events > 1000 {
		t.Errorf("without patience it counted %+v, %v", n, err)
	}
	run("BEGIN; LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
	if _, err := reader.Search(t.Context(), lives.Filter{}, domain.ID{}, 50); domain.ErrorCode(err) != domain.CodeUnavailable || !strings.Contains(errorMessage(err), "given up") {
		t.Errorf("behind a lock: %v, want to be told that the search was given up", err)
	}
	run("ROLLBACK")
}

func errorMessage(err error) string {
	if e, ok := errors.AsType[*domain.Error](err); ok {
		return e.Message
	}
	return ""
}
