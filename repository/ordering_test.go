package repository_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

func TestAnEventGoesWhenTheOneBeforeItIsConfirmed(t *testing.T) {
	t.Parallel()
	for _, history := range []bool{true, false} {
		db := schematest.Open(t)
		store := repository.NewOutbox(db, repository.OutboxOptions{History: history})
		emitKeyed(t, db, "a1", "a2", "b1")
		emit(t, db, 1)
		emitKeyed(t, db, "a3", "b2")

		if got, want := relayAll(t, store), "test:1 a1 b1"; got != want {
			t.Fatalf("at first %q went, want %q", got, want)
		}
		if n := count(t, db, "SELECT count(*) FROM outbox_held"); n != 3 {
			t.Errorf("%d events are held, want 3", n)
		}
		if !history {
			continue
		}
		confirmEvent(t, db, "b1")
		if got, want := relayAll(t, store), "b2"; got != want {
			t.Errorf("after b1 %q went, want %q", got, want)
		}
		emitKeyed(t, db, "a4", "b3")
		confirmEvent(t, db, "a1")
		if got, want := relayAll(t, store), "a2"; got != want {
			t.Errorf("after a1 %q went, want %q", got, want)
		}
		for _, step := range []struct{ confirmed, next string }{{"b2", "b3"}, {"a2", "a3"}, {"a3", "a4"}, {"a4", ""}, {"b3", ""}} {
			confirmEvent(t, db, step.confirmed)
			if got := relayAll(t, store); got != step.next {
				t.Errorf("after %s %q went, want %q", step.confirmed, got, step.next)
			}
		}
		if n := count(t, db, "SELECT (SELECT count(*) FROM outbox_held) + (SELECT count(*) FROM outbox_turns)"); n != 0 {
			t.Errorf("%d held events and turns are left", n)
		}
	}
}

// A worker may have committed an effect before the relay has committed the claim.
func TestAConfirmationThatComesBeforeTheCommit(t *testing.T) {
	t.Parallel()
	for _, commits := range []bool{true, false} {
		db, store := repositorytest.Outbox(t)
		emitKeyed(t, db, "a1", "a2", "a3")
		batch := claimEvents(t, store)
		if got := types(batch.Events()); got != "a1" {
			t.Fatalf("claimed %q, want a1", got)
		}
		confirmEvent(t, db, "a1")
		if commits {
			deliver(t, batch)
		} else if err := batch.Release(); err != nil {
			t.Fatal(err)
		}
		want := "a2"
		if got := relayAll(t, store); got != want {
			t.Errorf("commits %t: then %q went, want %q", commits, got, want)
		}
		confirmEvent(t, db, "a2")
		if want = "a3"; !commits {
			want = "a1 a3" // it is sent again, and confirmed already
		}
		if got := relayAll(t, store); got != want {
			t.Errorf("commits %t: after a2 %q went, want %q", commits, got, want)
		}
	}
}

func TestARefusedEventKeepsItsTurn(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emitKeyed(t, db, "a1", "a2")
	for _, outcome := range []domain.Outcome{
		{Verdict: domain.Refused, Err: fmt.Errorf("busy"), Delay: 0},
		{Verdict: domain.Untried},
		{Verdict: domain.Delivered},
	} {
		batch := claimEvents(t, store)
		if got := types(batch.Events()); got != "a1" {
			t.Fatalf("before %+v: claimed %q, want a1", outcome, got)
		}
		if err := batch.Commit(t.Context(), []domain.Outcome{outcome}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADeadLetterHoldsItsKeyIfAsked(t *testing.T) {
	t.Parallel()
	for _, holds := range []bool{true, false} {
		db := schematest.Open(t)
		store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: holds})
		emitKeyed(t, db, "a1", "a2")
		if err := claimEvents(t, store).Commit(t.Context(), []domain.Outcome{{Verdict: domain.Dead, Err: fmt.Errorf("never")}}); err != nil {
			t.Fatal(err)
		}
		want := "a2"
		if holds {
			want = ""
		}
		if got := relayAll(t, store); got != want {
			t.Errorf("holds %t: behind the dead letter %q went, want %q", holds, got, want)
		}
	}
}

func TestWhatNobodyConfirmsFollowsOnItself(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, Unconfirmed: []string{"a1", "a3"}})
	emitKeyed(t, db, "a1", "a2", "a3", "a4")
	if got, want := relayAll(t, store), "a1 a2"; got != want {
		t.Errorf("%q went, want %q", got, want)
	}
	confirmEvent(t, db, "a2")
	if got, want := relayAll(t, store), "a3 a4"; got != want {
		t.Errorf("after a2 %q went, want %q", got, want)
	}
}

// An event may be written early and become visible late. It is not overtaken by later
// events that are still held.
func TestAnEarlierEventThatIsStillInTheOutboxGoesFirst(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emitKeyed(t, db, "a1", "a2")
	first := claim(t, store, 1) // takes a1 out of the way, and lets it go
	if first.Held() != 1 || !first.Full() || !first.Advanced() {
		t.Fatalf("held %d, full %t, advanced %t", first.Held(), first.Full(), first.Advanced())
	}
	batch := claim(t, store, 10)
	if got := types(batch.Events()); got != "a1" || batch.Held() != 1 {
		t.Fatalf("claimed %q and held %d, want a1 and a2", got, batch.Held())
	}
	if err := batch.Release(); err != nil { // a1 and a2 are back
		t.Fatal(err)
	}
	exec(t, db, "UPDATE outbox SET available_at = now() + interval '1 hour' WHERE event_type = 'a1'")
	if got := relayAll(t, store); got != "" {
		t.Errorf("before the delayed a1 %q went", got)
	}
	exec(t, db, "UPDATE outbox SET available_at = now() WHERE event_type = 'a1'")
	if got, want := relayAll(t, store), "a1"; got != want {
		t.Errorf("%q went, want %q", got, want)
	}
}

// One session ends a turn and does not see yet which event is being held. The session that holds
// the event waits for the end of that turn.
func TestATurnThatEndsWhileOthersWaitForIt(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	exec(t, db, "INSERT INTO inbox (event_id) VALUES ('01a2140c-a3d7-7ea3-99b1-f23522c74dac')")
	exec(t, db, "INSERT INTO outbox_turns (ordering_key, event_id) SELECT 'a', event_id FROM inbox") // sent again, though it was confirmed

	other := repository.Begin(t.Context(), db)
	defer other.Rollback()
	if err := other.Exec("SELECT outbox_advance('{a}')").Error; err != nil {
		t.Fatal(err)
	}
	emitKeyed(t, db, "a2")
	claimed := make(chan error, 1)
	go func() {
		_, err := store.Claim(t.Context(), domain.Cursor{}, 10) // holds a2, and waits for the turn
		claimed <- err
	}()
	eventually(t, db, 1, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%outbox_advance%'`)
	if err := other.Commit().Error; err != nil {
		t.Fatal(err)
	}
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
	if got, want := relayAll(t, store), "a2"; got != want {
		t.Errorf("%q went, want %q", got, want)
	}
}

// One session has found a key's next event, and takes a long time before it gives that event the turn. Meanwhile the
// event and the one after it take effect, and the turn has ended. The session must not give the turn to the first of
// them again, because nobody would pass it on.
func TestATurnIsNotGivenToAnEventThatHadIt(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emitKeyed(t, db, "a1", "a2", "a3", "a4")
	if got, want := relayAll(t, store), "a1"; got != want {
		t.Fatalf("%q went, want %q", got, want)
	}
	exec(t, db, "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$")
	exec(t, db, "CREATE TRIGGER pause BEFORE INSERT ON outbox_turns FOR EACH ROW EXECUTE FUNCTION pause()")
	pausing, slow := repository.Begin(t.Context(), db), repository.Begin(t.Context(), db)
	defer pausing.Rollback()
	defer slow.Rollback()
	if err := pausing.Exec("SELECT pg_advisory_xact_lock(42)").Error; err != nil {
		t.Fatal(err)
	}
	advanced := make(chan error, 1)
	go func() { advanced <- slow.Exec("SELECT outbox_advance('{a}')").Error }() // to give a2 the turn
	repositorytest.AwaitWaiting(t, db)

	confirmEvent(t, db, "a1")
	second := claimEvents(t, store)
	confirmEvent(t, db, "a2")
	third := claimEvents(t, store)
	confirmEvent(t, db, "a3")
	if got := types(second.Events()) + " " + types(third.Events()); got != "a2 a3" {
		t.Fatalf("claimed %q", got)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_turns"); n != 0 {
		t.Fatalf("%d turns, though the commits of a2 and a3 are still to come", n)
	}
	if err := pausing.Commit().Error; err != nil {
		t.Fatal(err)
	}
	if err := <-advanced; err != nil {
		t.Fatal(err)
	}
	deliver(t, second)
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		deliverAll(t, third)
	}()
	repositorytest.AwaitWaiting(t, db)
	if err := slow.Commit().Error; err != nil {
		t.Fatal(err)
	}
	<-delivered
	if got, want := relayAll(t, store), "a4"; got != want {
		t.Errorf("%q went, want %q", got, want)
	}
}

// An event has the turn of its key, and an option is changed after it was published or died: no consumer confirms its
// type, or dead letters no longer hold their keys.
func TestAKeyGoesOnAfterAnOptionWasChanged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		first       func(t *testing.T, store *repository.Outbox)
		unconfirmed []string
	}{
		"unconfirmed": {func(t *testing.T, store *repository.Outbox) { relayAll(t, store) }, []string{"a1"}},
		"skip":        {func(t *testing.T, store *repository.Outbox) { die(t, store, "no") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			store := repository.NewOutbox(db, repository.OutboxOptions{History: true, DeadHoldsKey: true})
			keeping := upkeep.NewHousekeeping(db, "")
			emitKeyed(t, db, "a1", "a2")
			change.first(t, store)
			exec(t, db, "UPDATE outbox_turns SET taken_at = now() - interval '2 minutes'")
			if _, n, gone, err := keeping.AdvanceKeys(t.Context(), "", 10, true); err != nil || n != 0 || len(gone) != 0 {
				t.Fatalf("before the change: %d, %v, %v", n, gone, err)
			}
			if err := keeping.SayUnconfirmed(t.Context(), change.unconfirmed, nil); err != nil {
				t.Fatal(err)
			}
			if _, n, _, err := keeping.AdvanceKeys(t.Context(), "", 10, name != "skip"); err != nil || n != 1 {
				t.Errorf("%d keys went on (%v), want 1", n, err)
			}
			if got := relayAll(t, store); got != "a2" {
				t.Errorf("%q went, want a2", got)
			}
			balance(t, db)
		})
	}
}

func TestAClaimThatOnlyHoldsMovesOn(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	exec(t, db, "INSERT INTO outbox (event_type, payload, ordering_key) SELECT 'a' || n, '', 'a' FROM generate_series(1, 30) AS n")
	batch := claim(t, store, 10)
	if len(batch.Events()) != 0 || batch.Held() != 10 || !batch.Full() || batch.Reached() == (domain.Cursor{}) {
		t.Errorf("%d events, held %d, full %t, reached %v", len(batch.Events()), batch.Held(), batch.Full(), batch.Reached())
	}
	if time.Since(batch.Reached().Due) > time.Minute {
		t.Errorf("reached %v", batch.Reached())
	}
}

// A claim that only holds events ends with its commit. If the commit fails, the
// connection goes back to the pool all the same: there are far more failures here
// than connections.
func TestAHeldBatchThatCannotCommitGivesItsConnectionBack(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	exec(t, db, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$`)
	exec(t, db, `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox_held DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
	emitKeyed(t, db, "a1")
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := store.Claim(ctx, domain.Cursor{}, 10)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "not now") {
			t.Fatalf("%v, want the trigger's refusal", err)
		}
	}
	exec(t, db, `DROP TRIGGER refuse ON outbox_held`)
	if got := relayAll(t, store); got != "a1" {
		t.Errorf("then %q went, want a1", got)
	}
}
