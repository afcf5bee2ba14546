package repository_test

import (
	"context"
	"testing"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

// A producer's transaction has cancelled a held event, moved it to another time or written it again, and stays open. The
// event before it is confirmed meanwhile by a consumer, or by an acknowledgement. Neither waits for the producer, and the
// key goes on when the producer has ended.
func TestAConfirmationDoesNotWaitForAnOpenTransaction(t *testing.T) {
	t.Parallel()
	const write = `INSERT INTO outbox (id, event_type, payload, ordering_key) SELECT id, event_type, payload, ordering_key FROM outbox_held WHERE event_type = 'a2'`
	for name, open := range map[string]struct {
		does  string
		ended func(*gorm.DB) *gorm.DB
		next  string
	}{
		"cancelled":              {"SELECT outboxd.cancel(id) FROM outbox_held WHERE event_type = 'a2'", (*gorm.DB).Commit, "a3"},
		"cancelled, rolled back": {"SELECT outboxd.cancel(id) FROM outbox_held WHERE event_type = 'a2'", (*gorm.DB).Rollback, "a2"},
		"moved":                  {"SELECT outboxd.reschedule(id, now() - interval '1 second') FROM outbox_held WHERE event_type = 'a2'", (*gorm.DB).Commit, "a2"},
		"written again":          {write, (*gorm.DB).Commit, "a2"},
	} {
		for by, way := range map[string]func(context.Context, *postgres.Database, domain.ID) error{
			"consumer": func(ctx context.Context, db *postgres.Database, id domain.ID) error {
				_, err := db.SQL().ExecContext(ctx, "SELECT outboxd.confirm($1)", id)
				return err
			},
			"acknowledgement": func(ctx context.Context, db *postgres.Database, id domain.ID) error {
				_, _, err := confirm.NewAcknowledgedEvents(db).Acknowledge(ctx, []domain.Acknowledgement{{EventID: id, Type: "a1", Queue: "default"}}, "", "1-0")
				return err
			},
		} {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				db, store := repositorytest.Outbox(t)
				emitKeyed(t, db, "a1", "a2", "a3")
				if got := relayAll(t, store); got != "a1" {
					t.Fatalf("%q went, want a1", got)
				}
				tx := repository.Begin(t.Context(), db)
				defer tx.Rollback()
				if err := tx.Exec(open.does).Error; err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := way(ctx, db, find(t, db, "a1")); err != nil {
					t.Errorf("while the transaction is open: %v", err)
				}
				house := upkeep.NewHousekeeping(db, "")
				if _, _, _, err := house.AdvanceKeys(ctx, "", 10, true); err != nil {
					t.Errorf("the leader, while the transaction is open: %v", err)
				}
				if got := relayAll(t, store); got != "" {
					t.Errorf("%q went while the transaction is open", got)
				}
				if err := open.ended(tx).Error; err != nil {
					t.Fatal(err)
				}
				if _, _, _, err := house.AdvanceKeys(ctx, "", 10, true); err != nil {
					t.Fatal(err)
				}
				if got := relayAll(t, store); got != open.next {
					t.Errorf("then %q went, want %s", got, open.next)
				}
				exec(t, db, "INSERT INTO inbox (event_id) SELECT id FROM outbox_sent ON CONFLICT DO NOTHING")
				if got, want := relayAll(t, store), map[string]string{"a2": "a3"}[open.next]; got != want {
					t.Errorf("at last %q went, want %q", got, want)
				}
			})
		}
	}
}

// An open transaction has an acknowledged event or its turn locked. The others are confirmed, and the stored position
// stays, so that no leader passes the locked one over.
func TestALockedAcknowledgementHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, does := range map[string]string{
		"the turn":  "SELECT FROM outbox_turns WHERE ordering_key = 'a' FOR UPDATE",
		"confirmed": "SELECT outboxd.confirm(id) FROM outbox_sent WHERE event_type = 'a1'",
		"cancelled": "SELECT outboxd.cancel(id) FROM outbox_sent WHERE event_type = 'a1'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := repositorytest.Outbox(t)
			emitKeyed(t, db, "a1", "a2", "b1", "b2")
			emit(t, db, 1)
			relayAll(t, store)
			var list []domain.Acknowledgement
			for _, name := range []string{"a1", "b1", "test:1"} {
				list = append(list, domain.Acknowledgement{EventID: find(t, db, name), Type: name, Queue: "default"})
			}
			tx := repository.Begin(t.Context(), db)
			defer tx.Rollback()
			if err := tx.Exec(does).Error; err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			events := confirm.NewAcknowledgedEvents(db)
			acknowledge := func(confirmed, locked int, position string) {
				t.Helper()
				n, late, err := events.Acknowledge(ctx, list, "", "1-0")
				if err != nil || int(n) != confirmed || len(late) != locked || locked > 0 && late[0] != list[0] {
					t.Errorf("%d events are confirmed, %v are locked, %v, want %d and %d", n, late, err, confirmed, locked)
				}
				if at, err := events.Position(ctx); err != nil || at != position {
					t.Errorf("the position is %q, %v, want %q", at, err, position)
				}
			}
			acknowledge(2, 1, "")
			if got := relayAll(t, store); got != "b2" {
				t.Errorf("%q went while the transaction is open, want b2", got)
			}
			tx.Rollback()
			acknowledge(1, 0, "1-0")
			if got := relayAll(t, store); got != "a2" {
				t.Errorf("%q went when the transaction had ended, want a2", got)
			}
		})
	}
}

// A transaction stays open after it has cancelled a held event, or the pending delivery of one, and the event is written
// again. The claim of that row would wait for the transaction. The relay passes it over, and claims all others.
func TestAClaimPassesOverAnEventOfAnOpenTransaction(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]struct{ before, does string }{
		"held":     {"SELECT outboxd.emit('a1', '{}', ordering_key => 'a'), outboxd.emit('a2', '{}', ordering_key => 'a')", "SELECT outbox_cancel_one(id, 'ada', '', true, true) FROM outbox_held WHERE subscription IS NULL"},
		"delivery": {"SELECT outboxd.emit('a2', '{}')", "SELECT outbox_cancel_one(id, 'ada', '', true, true) FROM outbox WHERE subscription = 'one'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, store := repositorytest.Outbox(t)
			subscribe(t, db, wants("one", "a2"))
			exec(t, db, open.before)
			if name == "held" {
				relayAll(t, store)
			} else {
				deliverAll(t, claim(t, store, 1)) // its delivery waits
			}
			tx := repository.Begin(t.Context(), db)
			defer tx.Rollback()
			if err := tx.Exec(open.does).Error; err != nil {
				t.Fatal(err)
			}
			exec(t, db, "INSERT INTO outbox (id, event_type, payload, ordering_key) SELECT id, event_type, payload, ordering_key FROM outbox_held WHERE subscription IS NULL UNION SELECT id, event_type, payload, ordering_key FROM outbox_sent WHERE event_type = 'a2' AND subscription IS NULL")
			emit(t, db, 3)
			if got := relayAll(t, store); got != "test:1 test:2 test:3" {
				t.Errorf("%q went, want the others", got)
			}
			if n := count(t, db, "SELECT count(*) FROM outbox WHERE event_type = 'a2' AND subscription IS NULL"); n != 1 {
				t.Errorf("%d rows wait for the transaction, want 1", n)
			}
			tx.Rollback()
			store.Later(time.Minute)
			relayAll(t, store)
			if n := count(t, db, "SELECT count(*) FROM outbox"); n != 0 {
				t.Errorf("%d rows are left when the transaction has ended", n)
			}
		})
	}
}
