package heal_test

import (
	"runtime"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

func TestRedrivePutsBackWhatNobodyConfirmed(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	if err := upkeep.NewHousekeeping(db, "").KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	emit(t, db, 4)
	events := claim(t, store, 10)
	outcomes := make([]domain.Outcome, 4)
	for i := range outcomes {
		outcomes[i].Verdict = domain.Delivered
	}
	if err := events.Commit(t.Context(), outcomes); err != nil {
		t.Fatal(err)
	}
	want := events.Events()[1]
	exec(t, db, `INSERT INTO inbox (event_id) VALUES ($1)`, events.Events()[0].ID)
	exec(t, db, `UPDATE outbox_sent SET sent_at = now() - interval '1 day' WHERE id = $1`, events.Events()[3].ID)
	// The third event was replayed before: its newest generation goes back.
	exec(t, db, `INSERT INTO outbox_sent SELECT id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
		unique_seconds, available_at, attempts, 3, last_error, created_at, ordering_key, ordering_position, origin_id, subscription, split, sent_at + interval '1 us' FROM outbox_sent WHERE id = $1`, events.Events()[2].ID)

	n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour)
	if err != nil || n != 2 {
		t.Fatalf("Redrive: %d, %v, want 2", n, err)
	}
	batch := claim(t, store, 10)
	back := batch.Events()
	if len(back) != 2 {
		t.Fatalf("%d events are back, want 2", len(back))
	}
	if got := back[0]; got.TaskID() != want.TaskID() || got.Type != want.Type || string(got.Payload) != string(want.Payload) || !got.Available.Equal(want.Available) {
		t.Errorf("back is %+v, want %+v", got, want)
	}
	if got := back[1]; got.Generation != 3 {
		t.Errorf("generation %d is back, want 3", got.Generation)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_sent"); n != 2 {
		t.Errorf("%d rows in the history, want the confirmed and the old one", n)
	}
	if err := batch.Release(); err != nil {
		t.Fatal(err)
	}
	if n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour); err != nil || n != 0 {
		t.Errorf("a second Redrive: %d, %v, want 0", n, err)
	}
}

func TestRedriveFindsWhatWasSentBeforeTheClockWentBack(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	if err := upkeep.NewHousekeeping(db, "").KeepPartitions(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	emit(t, db, 4)
	deliver(t, claim(t, store, 10))
	for hours := range 4 {
		exec(t, db, `UPDATE outbox_sent SET sent_at = now() + $1 * interval '9 hours' WHERE id = (SELECT id FROM outbox_sent WHERE sent_at <= now() ORDER BY id LIMIT 1)`, hours+1)
	}
	if n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour); err != nil || n != 4 {
		t.Errorf("Redrive: %d, %v, want 4", n, err)
	}
}

func TestRedriveWaitsForBatchesFromBeforeTheClockWentBack(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	clock := server.OwnClock()
	if clock == nil {
		if runtime.GOOS == "linux" {
			t.Fatal("libfaketime is missing: .ci/setup faketime")
		}
		return // only Linux lets a server be given a clock this way
	}
	db := schematest.Connect(t, server.URL())
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	clock.Step(20 * time.Second)
	emit(t, db, 3)
	deliver(t, claim(t, store, 2))
	open := claim(t, store, 1)
	clock.Step(-20 * time.Second)
	healed := redriveBeside(t, db)
	eventually(t, db, 3, "SELECT count(*) FROM outbox")
	deliver(t, open)
	if n := <-healed; n != 3 {
		t.Errorf("%d events are back, want 3", n)
	}
}

// redriveBeside redrives while the test goes on. The channel gets how many events went back.
func redriveBeside(t *testing.T, db *postgres.Database) <-chan int64 {
	healed := make(chan int64, 1)
	go func() {
		n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour)
		if err != nil {
			t.Error(err)
		}
		healed <- n
	}()
	return healed
}
