package search_test

import (
	"fmt"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// Each held key is listed with the event that it waits for, wherever that event
// is.
func TestHeldKeysSayWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: true})
	keys := search.NewHeldKeys(db)
	keeping := upkeep.NewHousekeeping(db, "")
	if list, complete, err := keys.List(t.Context(), nil, 100); err != nil || !complete || len(list) != 0 {
		t.Fatalf("of an empty outbox: %+v, %t, %v", list, complete, err)
	}
	// a waits for a delayed event, b for one in the queue, c for a dead one, d for
	// one that was refused. e has nothing left to wait for, and f has a turn but
	// no held event.
	exec(t, db, "SELECT outboxd.emit('a1', '{}', ordering_key => 'a', available_at => '2100-01-01Z')")
	emitKeyed(t, db, "a2", "b1", "b2", "b3", "c1", "c2", "d1", "d2", "e1", "e2", "f1")
	for {
		batch := claimEvents(t, store)
		if len(batch.Events()) == 0 {
			break
		}
		outcomes := make([]domain.Outcome, len(batch.Events()))
		for i, e := range batch.Events() {
			switch e.Type {
			case "c1":
				outcomes[i] = domain.Outcome{Verdict: domain.Dead, Err: fmt.Errorf("too heavy")}
			case "d1":
				outcomes[i] = domain.Outcome{Verdict: domain.Refused, Err: fmt.Errorf("not now"), Delay: 1e12}
			default:
				outcomes[i].Verdict = domain.Delivered
			}
		}
		if err := batch.Commit(t.Context(), outcomes); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, db, "UPDATE outbox_turns SET event_id = gen_random_uuid() WHERE ordering_key = 'e'")
	exec(t, db, "UPDATE outbox_held SET held_at = now() - interval '1 hour' WHERE event_type = 'b2'")
	list, complete, err := keys.List(t.Context(), nil, 100)
	if err != nil || !complete {
		t.Fatalf("%t, %v", complete, err)
	}
	var got []string
	for _, k := range list {
		got = append(got, fmt.Sprint(k.Key, k.Held, " ", k.Turn.State, " ", k.Turn.Type, " ", k.Turn.Error))
	}
	want := "b2 in flight b1 |a1 pending a1 |c1 dead c1 too heavy|d1 pending d1 not now|e1 gone  "
	if strings.Join(got, "|") != want {
		t.Errorf("held: %q, want %q", strings.Join(got, "|"), want)
	}
	if list[1].Turn.At.Year() != 2100 || list[0].Turn.Since.IsZero() || list[0].Since.After(list[1].Since) {
		t.Errorf("times: %+v, %+v", list[0], list[1].Turn)
	}
	// The life of an event and the search name the event that it waits for, even if that is
	// not due yet.
	reader := search.NewLives(db)
	if life, err := reader.Find(t.Context(), list[1].Next); err != nil || life.TurnOf != list[1].Turn.ID {
		t.Errorf("the life of a2: %+v, %v", life, err)
	}
	found, err := reader.Search(t.Context(), lives.Filter{OrderingKey: "a", State: lives.StateHeld}, domain.ID{}, 10)
	if err != nil || len(found.Events) != 1 || found.Events[0].WaitsFor != list[1].Turn.ID {
		t.Errorf("a search for a2: %+v, %v", found, err)
	}
	backlog, _, err := keeping.Measure(t.Context(), domain.RelayProcess{}, nil)
	if err != nil || backlog.Held != 6 || backlog.HeldKeys != 5 || !backlog.OldestHeld.Equal(list[0].Since) {
		t.Errorf("backlog: %+v, %v", backlog, err)
	}

	// An event is confirmed, but its turn was not passed on, as after a crash.
	exec(t, db, "ALTER TABLE inbox DISABLE TRIGGER outbox_confirmed")
	exec(t, db, "DELETE FROM outbox_turns WHERE ordering_key = 'd'")
	exec(t, db, "DELETE FROM outbox WHERE event_type = 'd1'")
	confirm(t, db, "b1")
	list, _, err = keys.List(t.Context(), []string{"d", "b", "x"}, 100)
	if err != nil || len(list) != 2 || !list[0].Turn.Confirmed || list[1].Turn != nil {
		t.Errorf("of some keys: %+v, %v", list, err)
	}
	if list, _, err = keys.List(t.Context(), nil, 2); err != nil || len(list) != 2 {
		t.Errorf("two of them: %+v, %v", list, err)
	}
}

// Ten thousand events of one key cost a measurement no more than one.
func TestHeldKeysAreFoundThroughTheIndex(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox_held (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position)
		SELECT gen_random_uuid(), 'e', '', '{}', 'default', now(), 0, 0, now(), CASE WHEN n <= 10000 THEN 'hot' ELSE 'key' || n END, n FROM generate_series(1, 25000) n`)
	exec(t, db, "ANALYZE outbox_held")
	backlog, _, err := upkeep.NewHousekeeping(db, "").Measure(t.Context(), domain.RelayProcess{}, nil)
	if err != nil || backlog.Held != 25000 || backlog.HeldKeys != lives.HeldKeysCounted {
		t.Errorf("backlog: %+v, %v", backlog, err)
	}
	list, complete, err := search.NewHeldKeys(db).List(t.Context(), []string{"hot"}, 1)
	if err != nil || !complete || len(list) != 1 || list[0].Held != lives.HeldEventsCounted {
		t.Errorf("the hot key: %+v, %t, %v", list, complete, err)
	}
	if _, complete, err = search.NewHeldKeys(db).List(t.Context(), nil, 1); err != nil || complete {
		t.Errorf("complete: %t, %v", complete, err)
	}
	var plan strings.Builder
	rows, err := db.SQL().QueryContext(t.Context(), "EXPLAIN (ANALYZE, BUFFERS) "+search.HeldHeadsSQL+" SELECT count(*) FROM heads", []string{"hot"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil || strings.Contains(plan.String(), "Seq Scan on outbox_held") {
		t.Errorf("%v\n%s", err, plan.String())
	}
}
