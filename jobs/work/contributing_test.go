package work_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// TypeBuild is the type of the events that ask for a report.
const TypeBuild = "report:build"

// Build makes the report of a customer.
func Build(ctx context.Context, tx domain.Effects, task work.Task) error {
	var order struct {
		Customer int64 `json:"customer"`
	}
	if err := json.Unmarshal(task.Payload, &order); err != nil {
		return domain.Wrap(domain.CodeInvalid, err, "the payload is not an order for a report")
	}
	_, err := tx.Tx().ExecContext(ctx, "INSERT INTO shop.reports (event_id, customer) VALUES ($1, $2)", task.EventID, order.Customer)
	return err
}

// TestTheHandlerOfTheGuide runs the handler that CONTRIBUTING.md shows, which is the one above.
func TestTheHandlerOfTheGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("contributing_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(source), "// TypeBuild is")
	shown, _, _ = strings.Cut(shown, "// TestTheHandlerOfTheGuide")
	if !strings.Contains(string(guide), strings.TrimSpace(shown)) {
		t.Error("CONTRIBUTING.md shows another handler than the one of this file")
	}
	s := newShop(t, servertest.Redis(t), map[string]work.Handler{TypeBuild: Build})
	if _, err := s.db.SQL().ExecContext(t.Context(), "CREATE SCHEMA shop; CREATE TABLE shop.reports (event_id uuid PRIMARY KEY, customer bigint NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.enqueue(TypeBuild, newID(1).String(), []byte(`{"customer": 7}`))
	servertest.Eventually(t, "the report is there", func() bool {
		var n int
		err := s.db.SQL().QueryRowContext(t.Context(), "SELECT count(*) FROM shop.reports WHERE event_id = $1 AND customer = 7", newID(1)).Scan(&n)
		return err == nil && n == 1
	})
}
