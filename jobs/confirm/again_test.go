package confirm_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/jobs/confirm"
)

// The consumer's own table is altered under load, again and again: every connection has plans for the table as it was.
func TestAChangedTableCostsNoAttempt(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	exec("CREATE TABLE stock (item integer PRIMARY KEY, amount integer)")
	exec("INSERT INTO stock VALUES (1, 0)")
	client, inspector := serve(t, db, func(ctx context.Context, _ *asynq.Task) error {
		rows, err := confirm.Tx(ctx).QueryContext(ctx, "SELECT * FROM stock WHERE item = $1", 1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("look into the stock: %w", err)
		}
		_, err = confirm.Tx(ctx).ExecContext(ctx, "UPDATE stock SET amount = amount + 1 WHERE item = $1", 1)
		return err
	})
	const rounds, each = 10, 8
	var ids []string
	for round := range rounds {
		for range each {
			var id string
			if err := db.QueryRowContext(t.Context(), "SELECT outboxd.emit('test:stock', '{}')").Scan(&id); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
			enqueue(t, client, "test:stock", id)
		}
		awaitState(t, inspector, ids[len(ids)-1], asynq.TaskStateCompleted)
		exec(fmt.Sprintf("ALTER TABLE stock ADD COLUMN extra%d integer", round))
	}
	for _, id := range ids {
		if task := awaitState(t, inspector, id, asynq.TaskStateCompleted); task.Retried != 0 {
			t.Errorf("task %s was charged %d attempts: %s", id, task.Retried, task.LastErr)
		}
	}
	var amount int
	if err := db.QueryRowContext(t.Context(), "SELECT amount FROM stock").Scan(&amount); err != nil || amount != rounds*each {
		t.Errorf("%d effects, %v, want %d", amount, err, rounds*each)
	}
}
