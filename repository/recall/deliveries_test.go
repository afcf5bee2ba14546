package recall_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/recall"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/subscriptions"
)

// An event is taken back with all of its deliveries, or not at all: a receiver that
// may have one cannot be asked.
func TestAnEventIsTakenBackWithItsDeliveries(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	subscription := domain.Subscription{Name: "crm", Types: []string{"*"}, URL: "http://crm.example.com", Ordering: domain.OrderingKey}.WithDefaults()
	if _, err := subscriptions.New(db).Apply(t.Context(), &domain.Action{Actor: "a test"}, []domain.Subscription{subscription}); err != nil {
		t.Fatal(err)
	}
	rt.EmitKeyed(t, db, "k0")
	if got := cancel(t, db, rt.Find(t, db, "k0")); got != "cancelled" {
		t.Errorf("cancel before a relay met the event: %s", got)
	}
	rt.EmitKeyed(t, db, "k1", "k2")
	rt.RelayAll(t, store)
	deliveries := func(name string) int {
		return rt.Count(t, db, `SELECT count(*) FROM (SELECT event_type, subscription FROM outbox UNION ALL SELECT event_type, subscription FROM outbox_held
			UNION ALL SELECT event_type, subscription FROM outbox_sent) AS e WHERE event_type = $1 AND subscription = 'crm'`, name)
	}
	event := func(name string) (id domain.ID) {
		t.Helper()
		err := db.SQL().QueryRow(`SELECT id FROM (SELECT id, event_type, subscription FROM outbox UNION ALL SELECT id, event_type, subscription FROM outbox_held
			UNION ALL SELECT id, event_type, subscription FROM outbox_sent) AS e WHERE event_type = $1 AND subscription IS NULL`, name).Scan(&id)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if deliveries("k0") != 0 || deliveries("k1") != 1 || deliveries("k2") != 1 {
		t.Fatalf("deliveries: %d, %d, %d", deliveries("k0"), deliveries("k1"), deliveries("k2"))
	}
	if got := cancel(t, db, event("k1")); got != "in flight" || deliveries("k1") != 1 {
		t.Errorf("cancel of an event whose delivery was handed over: %s", got)
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_cancelled WHERE event_type = 'k1'"); n != 0 {
		t.Error("half of an event is cancelled")
	}
	second := event("k2")
	if got := cancel(t, db, second); got != "cancelled" || deliveries("k2") != 0 {
		t.Errorf("cancel of an event that is held, as its delivery: %s", got)
	}
	if _, err := recall.New(db).Erase(t.Context(), &domain.Action{Actor: "a test"}, []domain.ID{second}); err != nil {
		t.Fatal(err)
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_cancelled WHERE event_type = 'k2' AND payload = ''"); n != 2 {
		t.Errorf("%d of an event and its delivery are erased", n)
	}
	rt.Exec(t, db, "SELECT outboxd.confirm(id) FROM outbox_sent")
	if again := rt.RelayAll(t, store); again != "" {
		t.Errorf("%s went after it was cancelled", again)
	}
	adds(t, db, 3)
}
