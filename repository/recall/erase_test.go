package recall_test

import (
	"testing"

	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/heal"
	"outboxd/repository/recall"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// Events in all of these states can be erased: the account and the IDs stay, and
// nothing sends the events again without their content.
func TestErasingLeavesNothingOfTheContent(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	if err := upkeep.NewHousekeeping(db, "").SayUnconfirmed(t.Context(), []string{"log"}, nil); err != nil {
		t.Fatal(err)
	}
	emit := func(name, more string) {
		rt.Exec(t, db, "SELECT outboxd.emit($1, '{\"name\": \"ada\"}', headers => '{\"person\": \"ada\"}'"+more+")", name)
	}
	for _, name := range []string{"dead", "flying", "done", "again", "log"} {
		emit(name, "")
	}
	rt.RelayAll(t, store)
	rt.Confirm(t, db, "done")
	rt.Exec(t, db, `WITH gone AS (DELETE FROM outbox_sent WHERE event_type = 'dead' RETURNING *)
		INSERT INTO outbox_dead (id, event_type, payload, headers, queue, attempts, generation, created_at, available_at, stage, error)
		SELECT id, event_type, payload, headers, queue, attempts, generation, created_at, available_at, 'relay', 'no ada' FROM gone`)
	// The event "again" goes back to the outbox, and is confirmed before the relay
	// claims it there.
	if n, err := heal.NewMissingEvents(db).Resend(t.Context(), []domain.ID{rt.Find(t, db, "again")}, "a test"); err != nil || n != 1 {
		t.Fatalf("send again: %d, %v", n, err)
	}
	rt.Confirm(t, db, "again")
	emit("k1", ", ordering_key => 'k'")
	rt.RelayAll(t, store)
	emit("k2", ", ordering_key => 'k'")
	rt.RelayAll(t, store)
	emit("waiting", "")
	rt.Exec(t, db, "INSERT INTO outbox_journal (event_id, stage, entry, generation, detail) SELECT id, 'worker', 'failed', 0, 'no ada' FROM outbox_dead")

	names := []string{"dead", "flying", "done", "again", "log", "k1", "k2", "waiting"}
	ids := make([]domain.ID, len(names))
	for i, name := range names {
		ids[i] = rt.Find(t, db, name)
	}
	for range 2 { // again does no harm
		changes, err := recall.New(db).Erase(t.Context(), &domain.Action{Actor: "bob", Reason: "asked to be forgotten"}, ids)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(changes)
	}
	for _, id := range ids {
		life, err := search.NewLives(db).Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if len(life.Payload) > 0 || len(life.Headers) > 0 || life.Error != "" {
			t.Errorf("left of %s: %+v", life.Type, life)
		}
		erased := 0
		for _, entry := range life.Journal {
			if entry.Entry == "erased" {
				erased++
			} else if entry.Detail == "no ada" {
				t.Errorf("the journal of %s tells what it failed of", life.Type)
			}
		}
		if erased == 0 {
			t.Errorf("nobody says that %s was erased", id)
		}
	}
	for _, table := range []string{"outbox", "outbox_held", "outbox_sent", "outbox_dead", "outbox_cancelled"} {
		if n := rt.Count(t, db, "SELECT count(*) FROM "+table+" WHERE octet_length(payload) > 0 OR headers <> '{}'"); n != 0 {
			t.Errorf("%d events in %s have their content", n, table)
		}
	}
	if _, err := heal.NewRedriver(db).Redrive(t.Context(), 1e15); err != nil {
		t.Fatal(err)
	}
	if went := rt.RelayAll(t, store); went != "" {
		t.Errorf("%s went, without content", went)
	}
	adds(t, db, 4)
}

// A confirmed event may wait again in two tables, because a producer wrote it twice.
func TestAConfirmedEventThatWaitsTwiceIsErased(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	const id = "01980000-0000-7000-8000-000000000000"
	emit := func() {
		rt.Exec(t, db, "INSERT INTO outbox (id, event_type, payload, headers, ordering_key) VALUES ($1, 'test', 'ada', '{\"person\": \"ada\"}', 'k')", id)
	}
	emit()
	rt.RelayAll(t, store)
	rt.Confirm(t, db, "test")
	emit()
	rt.Exec(t, db, "WITH gone AS (DELETE FROM outbox RETURNING *) INSERT INTO outbox_held SELECT * FROM gone")
	emit()
	known, err := domain.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := recall.New(db).Erase(t.Context(), &domain.Action{Actor: "bob"}, []domain.ID{known})
	if err != nil || changes[0].Answer != domain.ChangeErased {
		t.Fatalf("erase: %v, %v", changes, err)
	}
	for _, table := range []string{"outbox", "outbox_held", "outbox_sent"} {
		if n := rt.Count(t, db, "SELECT count(*) FROM "+table+" WHERE octet_length(payload) > 0 OR headers <> '{}'"); n != 0 {
			t.Errorf("%d in %s have their content", n, table)
		}
	}
	if went := rt.RelayAll(t, store); went != "" {
		t.Errorf("%s went after it was erased", went)
	}
	adds(t, db, 0)
}

// An ID may be dead, suppressed or cancelled and also wait in the outbox,
// because a producer wrote it again. After it is erased, the waiting row is not
// sent.
func TestWhatRepeatsAnErasedEventIsNotSent(t *testing.T) {
	t.Parallel()
	for what, aside := range map[string]string{
		"dead": `WITH gone AS (DELETE FROM outbox RETURNING *) INSERT INTO outbox_dead
			SELECT (jsonb_populate_record(NULL::outbox_dead, to_jsonb(gone) || '{"stage": "relay", "error": "no ada", "died_at": "now", "generation": 1}')).* FROM gone`,
		"suppressed": `WITH gone AS (DELETE FROM outbox RETURNING *) INSERT INTO outbox_suppressed
			SELECT (jsonb_populate_record(NULL::outbox_suppressed, to_jsonb(gone) || '{"holder": "another", "suppressed_at": "now", "generation": 1}')).* FROM gone`,
		"cancelled": "SELECT outboxd.cancel(id) FROM outbox",
	} {
		for where, prepare := range map[string]func(t *testing.T, store *repository.Outbox){
			"pending":   func(*testing.T, *repository.Outbox) {},
			"in flight": func(t *testing.T, store *repository.Outbox) { rt.RelayAll(t, store) },
		} {
			t.Run(what+" and "+where, func(t *testing.T) {
				t.Parallel()
				db, store := rt.Outbox(t)
				const id = "01980000-0000-7000-8000-000000000000"
				emit := func() {
					rt.Exec(t, db, "INSERT INTO outbox (id, event_type, payload, headers) VALUES ($1, 'test', 'ada', '{\"person\": \"ada\"}')", id)
				}
				emit()
				rt.Exec(t, db, aside)
				emit()
				prepare(t, store)
				known, err := domain.ParseID(id)
				if err != nil {
					t.Fatal(err)
				}
				changes, err := recall.New(db).Erase(t.Context(), &domain.Action{Actor: "bob"}, []domain.ID{known})
				if err != nil || changes[0].Answer != domain.ChangeErased {
					t.Fatalf("erase: %v, %v", changes, err)
				}
				if went := rt.RelayAll(t, store); went != "" {
					t.Errorf("%s went after it was erased", went)
				}
				if _, err := heal.NewRedriver(db).Redrive(t.Context(), 1e15); err != nil {
					t.Fatal(err)
				}
				if went := rt.RelayAll(t, store); went != "" {
					t.Errorf("%s was sent again after it was erased", went)
				}
				if where == "in flight" {
					if first, err := confirmOne(db.SQL(), known); err != nil || first {
						t.Errorf("it takes effect after it was erased: %t, %v", first, err)
					}
				}
				for _, table := range []string{"outbox", "outbox_held", "outbox_sent", "outbox_dead", "outbox_suppressed", "outbox_cancelled"} {
					if n := rt.Count(t, db, "SELECT count(*) FROM "+table+" WHERE octet_length(payload) > 0 OR headers <> '{}'"); n != 0 {
						t.Errorf("%d in %s have their content", n, table)
					}
				}
				adds(t, db, int64(rt.Count(t, db, "SELECT count(*) FROM outbox_cancelled")))
			})
		}
	}
}
