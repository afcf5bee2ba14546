package heal_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/repository/heal"
	"outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

func TestQueueMemoryIsReplacedByOneProcessOnly(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	memory := heal.NewQueueMemory(db)
	record, err := memory.Recall(t.Context())
	if err != nil || record.Name == "" || record.Identity != (lost.QueueIdentity{}) || !record.HealedAt.IsZero() {
		t.Fatalf("at first %+v, %v", record, err)
	}
	first := lost.QueueIdentity{RunID: "r1", ReplicationID: "l1", Canary: "a"}
	renewed := lost.QueueIdentity{RunID: "r1", ReplicationID: "l1", Canary: "n"}
	second := lost.QueueIdentity{RunID: "r1", ReplicationID: "l1", Canary: "b"}
	for _, step := range []struct {
		known, next lost.QueueIdentity
		healed      string
		want        domain.Code
		before      string
	}{
		{lost.QueueIdentity{}, first, "", "", ""},
		{lost.QueueIdentity{}, second, "", domain.CodeConflict, ""},
		{first, renewed, "", "", "a"},
		{renewed, second, "it was emptied", "", ""},
		{renewed, second, "", domain.CodeConflict, ""},
	} {
		if err := memory.Remember(t.Context(), step.known, step.next, step.healed); domain.ErrorCode(err) != step.want {
			t.Errorf("%+v: %v, want code %q", step, err, step.want)
		}
		if is, err := memory.Recall(t.Context()); err != nil || is.Before != step.before {
			t.Errorf("%+v: the canary before is %q, %v", step, is.Before, err)
		}
	}
	began := lost.Heal{Canary: "h", Reason: "it was restarted"}
	if err := memory.BeginHeal(t.Context(), renewed, began); domain.ErrorCode(err) != domain.CodeConflict {
		t.Errorf("a heal of a former leader begins: %v", err)
	}
	if err := memory.BeginHeal(t.Context(), second, began); err != nil {
		t.Error(err)
	}
	if is, err := memory.Recall(t.Context()); err != nil || is.Heal != began {
		t.Errorf("while it heals %+v, %v", is.Heal, err)
	}
	if err := memory.Remember(t.Context(), second, second, began.Reason); err != nil {
		t.Error(err)
	}
	again, err := memory.Recall(t.Context())
	if err != nil || again.Identity != second || again.Heal.Canary != "" || again.Name != record.Name || time.Since(again.HealedAt) > time.Hour {
		t.Errorf("at last %+v, %v", again, err)
	}
}

// The history has more events than one statement takes. Some of them must stay there.
func TestRedriveGoesThroughTheWholeHistory(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	if err := upkeep.NewHousekeeping(db, "").KeepPartitions(t.Context(), 72*time.Hour); err != nil {
		t.Fatal(err)
	}
	const sent, generations, confirmed, dead = 12_000, 10, 1_000, 100
	// Write events whose IDs have another order than their times, into two partitions: that
	// of today and the default.
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
		SELECT gen_random_uuid(), CASE WHEN n % 10 = 0 THEN 'test:unconfirmed' ELSE 'test:a' END, '', '{}', 'default', now(), 0, 0, now(), now() - n * interval '10 s'
		FROM generate_series(1, $1::int) n`, sent)
	exec(t, db, `INSERT INTO inbox (event_id) SELECT id FROM outbox_sent WHERE event_type = 'test:a' ORDER BY id LIMIT $1`, confirmed)
	exec(t, db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, error, stage)
		SELECT id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, 'no', 'worker'
		FROM outbox_sent WHERE event_type = 'test:a' ORDER BY id DESC LIMIT $1`, dead)
	// Write one event that was replayed again and again, at the end of a batch.
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
		SELECT id, event_type, payload, headers, queue, available_at, attempts, g, created_at, sent_at + g * interval '1 us'
		FROM (SELECT s.* FROM outbox_sent s WHERE event_type = 'test:a' AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = s.id)
		      ORDER BY id OFFSET 4999 LIMIT 1) AS replayed, generate_series(1, $1::int) g`, generations)
	const want = sent - sent/10 - confirmed - dead
	n, err := heal.NewRedriver(db).Redrive(t.Context(), 72*time.Hour, "test:unconfirmed")
	if err != nil || n != want {
		t.Fatalf("Redrive: %d, %v, want %d", n, err, want)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox WHERE event_type = 'test:a'"); n != want {
		t.Errorf("%d events are back, want %d", n, want)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox WHERE generation = $1", generations); n != 1 {
		t.Errorf("the newest generation of the replayed event is back %d times", n)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_sent"); n != sent-want {
		t.Errorf("%d rows are left in the history, want %d", n, sent-want)
	}
}

// A batch that was claimed before the queue lost its data, and commits only
// after the history was read, may be lost too.
func TestRedriveWaitsForOpenBatches(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 6)
	delivered := func(batch domain.Batch) {
		t.Helper()
		outcomes := make([]domain.Outcome, len(batch.Events()))
		for i := range outcomes {
			outcomes[i].Verdict = domain.Delivered
		}
		if err := batch.Commit(t.Context(), outcomes); err != nil {
			t.Error(err)
		}
	}
	settled, late, undone := claim(t, store, 2), claim(t, store, 2), claim(t, store, 2)
	delivered(settled)
	type result struct {
		events int64
		err    error
	}
	done := make(chan result, 1)
	go func() {
		n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour)
		done <- result{n, err}
	}()
	servertest.Eventually(t, "what was settled is back", func() bool {
		return count(t, db, "SELECT count(*) FROM outbox") == 6 // with those that the open batches hold
	})
	// This event was claimed after the loss, so it is not lost, and the heal
	// must not wait for it.
	later := claim(t, store, 1)
	select {
	case r := <-done:
		t.Fatalf("Redrive has returned %+v beside open batches", r)
	default:
	}
	delivered(late)
	if err := undone.Release(); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || r.events != 4 {
		t.Errorf("Redrive: %+v, want 4 events", r)
	}
	delivered(later)
	if n := count(t, db, "SELECT count(*) FROM outbox"); n != 5 {
		t.Errorf("%d events in the outbox, want 5", n)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_sent"); n != 1 {
		t.Errorf("%d events in the history, want the one that was claimed later", n)
	}
}

// Housekeeping makes a partition and moves the rows of its day there, while the
// history is read.
func TestRedriveFindsWhatHousekeepingMoves(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT gen_random_uuid(), 'test:a', '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 10)`)
	tx, err := db.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		"LOCK TABLE outbox_sent IN SHARE UPDATE EXCLUSIVE MODE",
		"CREATE TABLE today (LIKE outbox_sent INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
		"WITH moved AS (DELETE FROM outbox_sent_default RETURNING *) INSERT INTO today SELECT * FROM moved",
		"ALTER TABLE outbox_sent ATTACH PARTITION today FOR VALUES FROM ('-infinity') TO ('infinity')",
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	type result struct {
		events int64
		err    error
	}
	done := make(chan result, 1)
	go func() {
		n, err := heal.NewRedriver(db).Redrive(t.Context(), time.Hour)
		done <- result{n, err}
	}()
	servertest.Eventually(t, "Redrive waits for housekeeping", func() bool {
		return count(t, db, "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") > 0
	})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || r.events != 10 {
		t.Errorf("Redrive: %+v, want 10 events", r)
	}
}
