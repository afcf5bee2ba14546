package deadletters_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

func TestDeadLettersAreListedByFilterAndPage(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	emit(t, db, 2)
	if err := claim(t, store, 1).Commit(t.Context(), []domain.Outcome{{Verdict: domain.Refused, Err: errors.New("first trouble")}}); err != nil {
		t.Fatal(err)
	}
	die(t, store, "Wrong Type")
	exec(t, db, "INSERT INTO outbox (event_type, payload, queue) VALUES ('other', '', 'low')")
	die(t, store, "too old")
	exec(t, db, "UPDATE outbox_dead SET died_at = now() - interval '2 hours' WHERE event_type = 'other'")

	for name, c := range map[string]struct {
		filter domain.DeadFilter
		want   int
	}{
		"all": {domain.DeadFilter{}, 3}, "type": {domain.DeadFilter{Type: "test:1"}, 1}, "queue": {domain.DeadFilter{Queue: "low"}, 1}, "types": {domain.DeadFilter{Type: "test:*"}, 2}, "queues": {domain.DeadFilter{Queue: "lo*"}, 1}, "no types": {domain.DeadFilter{Type: "est:*"}, 0},
		"error": {domain.DeadFilter{Error: "wrong type"}, 2}, "relay": {domain.DeadFilter{Stage: domain.StageRelay}, 3}, "worker": {domain.DeadFilter{Stage: domain.StageWorker}, 0},
		"old": {domain.DeadFilter{OlderThan: time.Hour}, 1}, "new": {domain.DeadFilter{NewerThan: time.Hour}, 2},
		"until": {domain.DeadFilter{Until: time.Now().Add(-time.Hour)}, 1}, "ID": {domain.DeadFilter{IDs: []domain.ID{find(t, db, "other")}}, 1},
	} {
		list, err := letters.List(t.Context(), c.filter, domain.Cursor{}, 10)
		if err != nil || len(list) != c.want {
			t.Errorf("%s: %d dead letters, %v, want %d", name, len(list), err, c.want)
		}
		if n, err := letters.Count(t.Context(), c.filter, 0, 0); err != nil || n.Matched != int64(c.want) {
			t.Errorf("%s: counted %d, %v, want %d", name, n.Matched, err, c.want)
		}
	}
	want := []domain.QueueCount{{Queue: "default", Count: 2}, {Queue: "low", Count: 1}}
	if n, err := letters.Count(t.Context(), domain.DeadFilter{}, 0, 0); err != nil || n.Types != 3 || !slices.Equal(n.Queues, want) {
		t.Errorf("the count is %+v, %v, want 3 types and the queues %+v", n, err, want)
	}
	var pages []string
	for after := (domain.Cursor{}); ; {
		page, err := letters.List(t.Context(), domain.DeadFilter{}, after, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		pages, after = append(pages, page[0].Type), page[0].Cursor()
		if page[0].Type == "test:1" && (page[0].FirstError != "first trouble" || page[0].Error != "Wrong Type" || page[0].Attempts != 2) {
			t.Errorf("the dead letter is %+v", page[0])
		}
	}
	if got := fmt.Sprint(pages); got != "[other test:1 test:2]" && got != "[other test:2 test:1]" {
		t.Errorf("the pages are %s", got)
	}
	balance(t, db)
}

// A count that ends early is no error, and still has the time of the database.
func TestACountOfDeadLettersEndsInTime(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	_, run := repositorytest.Session(t, db)
	run("BEGIN; LOCK TABLE outbox_dead IN ACCESS EXCLUSIVE MODE")
	if n, err := letters.Count(t.Context(), domain.DeadFilter{}, 10, time.Millisecond); err != nil || !n.More || n.Matched != 0 || n.At.IsZero() {
		t.Errorf("behind a lock it counted %+v, %v", n, err)
	}
	run("ROLLBACK")
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		SELECT outbox_new_id(), 'a', '', '{}', 'default', now(), 1, 0, now(), 'relay', 'x' FROM generate_series(1, 3)`)
	for limit, want := range map[int]domain.DeadCount{2: {Matched: 2, More: true}, 3: {Matched: 3}, 4: {Matched: 3}, 0: {Matched: 3}} {
		if n, err := letters.Count(t.Context(), domain.DeadFilter{}, limit, time.Minute); err != nil || n.Matched != want.Matched || n.More != want.More {
			t.Errorf("up to %d it counted %+v, %v, want %+v", limit, n, err, want)
		}
	}
}

// A dead letter that two people replay at once is replayed once, and does not
// count as emitted.
func TestReplayOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	const events = 40
	exec(t, db, "INSERT INTO outbox (event_type, payload, deadline, unique_seconds, max_retry) SELECT 'test:'||n, '', now() - interval '1 hour', 60, 7 FROM generate_series(1, 40) n")
	die(t, store, "no")
	var mu sync.Mutex
	seen := map[domain.ID]int{}
	var people sync.WaitGroup
	actions := make([]domain.Action, 3)
	for i := range actions {
		actions[i] = domain.Action{Actor: fmt.Sprintf("ada%d@example.com", i), Reason: "again", Filter: map[string]string{"all": "true\x00"}}
		people.Go(func() {
			for {
				replayed, err := letters.Replay(t.Context(), &actions[i], domain.DeadFilter{}, 3)
				if err != nil || len(replayed) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				for _, r := range replayed {
					seen[r.ID]++
				}
				mu.Unlock()
			}
		})
	}
	people.Wait()
	// A run that skipped dead letters which another run had locked may have ended
	// early.
	if _, err := letters.Replay(t.Context(), &actions[0], domain.DeadFilter{}, events); err != nil {
		t.Fatal(err)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("event %s was replayed %d times", id, n)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM outbox WHERE generation = 1 AND attempts = 0 AND deadline IS NULL AND unique_seconds IS NULL AND max_retry = 7
		AND available_at <= now()`); n != events {
		t.Errorf("%d events are back as they should be, want %d", n, events)
	}
	if n := count(t, db, "SELECT sum(events) FROM outbox_actions WHERE action = 'replay' AND reason = 'again'"); n != events {
		t.Errorf("%d events are recorded as replayed, want %d", n, events)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_journal WHERE entry = 'replayed' AND detail LIKE 'by ada_@example.com: again'"); n != events {
		t.Errorf("the journal has %d replays, want %d", n, events)
	}
	balance(t, db)
}

func TestDiscardedEventsAreInTheAccountAndPassTheTurnOn(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: true})
	emitKeyed(t, db, "a1", "a2")
	die(t, store, "no")
	if list, err := letters.List(t.Context(), domain.DeadFilter{}, domain.Cursor{}, 10); err != nil || len(list) != 1 || !list[0].HoldsKey {
		t.Fatalf("%+v, %v, want a1, which holds its key", list, err)
	}
	action := domain.Action{Actor: "ada@example.com"}
	if n, err := letters.Discard(t.Context(), &action, domain.DeadFilter{Type: "a1"}, 10); err != nil || n != 1 || action.ID.IsZero() {
		t.Fatalf("discarded %d, %v, recorded as %s", n, err, action.ID)
	}
	if got := relayAll(t, store); got != "a2" {
		t.Errorf("behind the discarded event %q went, want a2", got)
	}
	if n := count(t, db, "SELECT sum(discarded) FROM outbox_account WHERE event_type = 'a1'"); n != 1 {
		t.Errorf("%d discarded events are in the account, want 1", n)
	}
	balance(t, db)
}

// If the dead letter kept the turn of its key, the replayed event has the turn at once. If the dead
// letter passed the turn on, the replayed event a1 waits until a2, which has the turn, is confirmed.
// Then a1 comes before a3.
func TestReplayAndTheTurnOfTheKey(t *testing.T) {
	t.Parallel()
	for holds, want := range map[bool]string{true: "a1", false: ""} {
		db := schematest.Open(t)
		store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: holds})
		emitKeyed(t, db, "a1", "a2", "a3")
		die(t, store, "no")
		relayAll(t, store) // a2, where the dead letter does not hold its key
		if _, err := deadletters.New(db).Replay(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 10); err != nil {
			t.Fatal(err)
		}
		if got := relayAll(t, store); got != want {
			t.Errorf("holds %t: %q went, want %q", holds, got, want)
		}
		if !holds {
			confirm(t, db, "a2")
			if got := relayAll(t, store); got != "a1" {
				t.Errorf("after a2 %q went, want the replayed a1", got)
			}
		}
		balance(t, db)
	}
}

func TestOutcomesOfAReplay(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	emit(t, db, 4)
	die(t, store, "no")
	replayed, err := letters.Replay(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 10)
	if err != nil || len(replayed) != 4 {
		t.Fatalf("%+v, %v", replayed, err)
	}
	want := func(confirmed, dead, open int) {
		t.Helper()
		if got, err := letters.Outcomes(t.Context(), replayed, []string{"test:4"}); err != nil || got != (domain.ReplayOutcomes{Confirmed: confirmed, Dead: dead, Open: open}) {
			t.Errorf("%+v, %v, want %d confirmed, %d dead, %d open", got, err, confirmed, dead, open)
		}
	}
	want(0, 0, 4)
	if got, err := letters.Outcomes(t.Context(), replayed, nil); err != nil || got.Open != 4 {
		t.Errorf("where everything is confirmed: %+v, %v, want 4 open", got, err)
	}
	batch := claimEvents(t, store)
	outcomes := make([]domain.Outcome, 4)
	for i, e := range batch.Events() {
		if outcomes[i].Verdict = domain.Delivered; e.Type == "test:1" {
			outcomes[i] = domain.Outcome{Verdict: domain.Dead, Err: errors.New("again")}
		}
	}
	if err := batch.Commit(t.Context(), outcomes); err != nil {
		t.Fatal(err)
	}
	want(1, 1, 2) // nobody confirms test:4
	confirm(t, db, "test:2")
	want(2, 1, 1)
	balance(t, db)
}

func TestDeadLettersAreGrouped(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	for _, why := range []string{"user 1 of 01980000-0000-7000-8000-000000000000 is gone", "user 27 of 01980000-0000-7000-8000-00000000000a is gone", "other"} {
		exec(t, db, `INSERT INTO outbox (event_type, payload) VALUES ('a', 'x')`)
		die(t, store, why)
	}
	groups, more, err := letters.Groups(t.Context(), domain.DeadFilter{}, 10)
	if err != nil || more || len(groups) != 2 || groups[0].Count != 2 || groups[0].ErrorForm != "user # of # is gone" || groups[1].ErrorForm != "other" {
		t.Fatalf("%+v, %t, %v", groups, more, err)
	}
	if _, more, err := letters.Groups(t.Context(), domain.DeadFilter{}, 2); err != nil || !more {
		t.Errorf("of two: more %t, %v", more, err)
	}
	action := &domain.Action{Actor: "ada@example.com", Reason: "mended"}
	replayed, err := letters.Replay(t.Context(), action, domain.DeadFilter{ErrorForm: groups[0].ErrorForm}, 10)
	if err != nil || len(replayed) != 2 {
		t.Errorf("%d were replayed, %v, want the two of the group", len(replayed), err)
	}
	if actions, err := letters.Actions(t.Context(), domain.ID{}, 10); err != nil || len(actions) != 1 || actions[0].Reason != "mended" || actions[0].Events != 2 || actions[0].Kind != "replay" {
		t.Errorf("%+v, %v", actions, err)
	}
}

func TestActionsAreListedByPage(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	letters := deadletters.New(db)
	// Actions of the same moment have an order too.
	exec(t, db, `INSERT INTO outbox_actions (at, actor, action, filter, reason) SELECT now() - (n / 2) * interval '1 minute', 'ada', 'apply', '{}', n::text FROM generate_series(0, 4) n`)
	var seen []string
	var after domain.ID
	for range 3 {
		page, err := letters.Actions(t.Context(), after, 2)
		if err != nil || len(page) == 0 {
			t.Fatalf("after %v: %d actions, %v", seen, len(page), err)
		}
		for _, a := range page {
			seen = append(seen, a.Reason)
		}
		after = page[len(page)-1].ID
	}
	if last, err := letters.Actions(t.Context(), after, 2); err != nil || len(last) != 0 || len(seen) != 5 || slices.Max(seen[:2]) != "1" || seen[4] != "4" {
		t.Errorf("%v, and then %+v, %v", seen, last, err)
	}
}

// The archived task of a discarded event still has the payload, so the task is noted as void, for
// the leader to delete.
func TestADiscardedEventsTasksAreVoid(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 1)
	relayAll(t, store)
	id := find(t, db, "test:1")
	bury(t, deadletters.NewFailedTasks(db, true), failedTask(id, "test:1"), domain.Buried)
	if n, err := deadletters.New(db).Discard(t.Context(), &domain.Action{Actor: "ada"}, domain.DeadFilter{}, 10); err != nil || n != 1 {
		t.Fatalf("discarded %d, %v", n, err)
	}
	house := upkeep.NewHousekeeping(db, "")
	events, err := house.VoidTasks(t.Context(), domain.ID{}, 10)
	if err != nil || len(events) != 1 || events[0].ID != id || events[0].Queue != "default" || events[0].Generation != 0 {
		t.Fatalf("void tasks: %+v, %v", events, err)
	}
	exec(t, db, "INSERT INTO outbox (id, event_type, payload) VALUES ($1, 'again', '')", id)
	if events, err := house.VoidTasks(t.Context(), domain.ID{}, 10); err != nil || len(events) != 1 || events[0].Generation != -1 {
		t.Errorf("the task of an event that was written again counts as void: %+v, %v", events, err)
	}
	exec(t, db, "DELETE FROM outbox")
	if err := house.VoidTasksRemoved(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if n, err := house.TrimVoidTasks(t.Context(), 0, 10); err != nil || n != 1 {
		t.Errorf("trimmed %d, %v", n, err)
	}
}
