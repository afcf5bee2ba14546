package repository_test

import (
	"context"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/postgres"
)

// If a statement of a transaction failed, COMMIT succeeds with the answer ROLLBACK.
// A client that takes that for success loses the transaction's work.
func TestACommitThatRollsBackIsAnError(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	direct := schematest.Connect(t, url)
	exec(t, direct, "CREATE TABLE effects (n int)")
	pooled, err := postgres.Open(t.Context(), postgres.Options{
		URL: postgrestest.PgBouncer(t, url), MaxConns: 2, ConnectTimeout: 10 * time.Second, ExecMode: "cache_describe", Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pooled.Close)
	for way, db := range map[string]*postgres.Database{"the pool": direct, "PgBouncer": pooled} {
		t.Run("a batch through "+way, func(t *testing.T) { batchRollsBack(t, db) })
		t.Run("an effect through "+way, func(t *testing.T) { effectRollsBack(t, db) })
		t.Run("a plain transaction through "+way, func(t *testing.T) { plainRollsBack(t, db) })
	}
}

func batchRollsBack(t *testing.T, db *postgres.Database) {
	exec(t, db, "INSERT INTO outbox (event_type, payload) VALUES ('test:rolled-back', '')")
	batch, err := repository.NewOutbox(db, repository.OutboxOptions{History: true}).Claim(t.Context(), domain.Cursor{}, 10)
	if err != nil || len(batch.Events()) != 1 {
		t.Fatalf("claim: %v", err)
	}
	repository.FailStatement(t.Context(), batch)
	err = batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Delivered}})
	if err == nil {
		t.Error("the batch counts as committed")
	}
	if err := batch.Release(); err != nil {
		t.Errorf("release: %v", err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox"); n != 1 {
		t.Errorf("%d events are pending, want 1", n)
	}
	exec(t, db, "DELETE FROM outbox")
}

func effectRollsBack(t *testing.T, db *postgres.Database) {
	id := domain.ID{9}
	_, err := confirm.NewInbox(db).Process(t.Context(), id, func(ctx context.Context, tx domain.Effects) error {
		_, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects VALUES (1)")
		_, _ = tx.Tx().ExecContext(ctx, "SELECT 1 / 0") // a handler that ignores an error
		return err
	})
	if err == nil {
		t.Error("the event counts as processed")
	}
	if n := count(t, db, "SELECT (SELECT count(*) FROM effects) + (SELECT count(*) FROM inbox)"); n != 0 {
		t.Errorf("%d rows were kept", n)
	}
}

func plainRollsBack(t *testing.T, db *postgres.Database) {
	tx, err := db.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "SELECT 1 / 0"); err == nil {
		t.Fatal("1 / 0 is a number")
	}
	if err := tx.Commit(); err == nil {
		t.Error("the transaction counts as committed")
	}
}
