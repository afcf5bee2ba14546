package recall_test

import (
	"testing"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/recall"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/subscriptions"
)

// subscribe adds a subscription to all events that keeps the order of each key.
func subscribe(t *testing.T, db *postgres.Database, name string) {
	t.Helper()
	subscription := setup.Subscription{Name: name, Types: []string{"*"}, URL: "http://crm.example.com", Ordering: setup.OrderingKey}.WithDefaults()
	if _, err := subscriptions.New(db).Apply(t.Context(), &domain.Action{Actor: "a test"}, []setup.Subscription{subscription}); err != nil {
		t.Fatal(err)
	}
}

// eventOf returns the event of a type, not one of the event's deliveries.
func eventOf(t *testing.T, db *postgres.Database, name string) (id domain.ID) {
	t.Helper()
	err := db.SQL().QueryRow(`SELECT id FROM (SELECT id, event_type, subscription FROM outbox UNION ALL SELECT id, event_type, subscription FROM outbox_held
		UNION ALL SELECT id, event_type, subscription FROM outbox_sent) AS e WHERE event_type = $1 AND subscription IS NULL`, name).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// An event is cancelled with all of its deliveries, or not at all. A delivery that
// its receiver may have cannot be cancelled at once.
func TestAnEventIsTakenBackWithItsDeliveries(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	subscribe(t, db, "crm")
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
	event := func(name string) domain.ID { return eventOf(t, db, name) }
	if deliveries("k0") != 0 || deliveries("k1") != 1 || deliveries("k2") != 1 {
		t.Fatalf("deliveries: %d, %d, %d", deliveries("k0"), deliveries("k1"), deliveries("k2"))
	}
	if got := cancel(t, db, event("k1")); got != "requested" || deliveries("k1") != 1 {
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

// An event that cannot be erased with all of its deliveries keeps everything.
func TestAnEventIsErasedWithItsDeliveriesOrNotAtAll(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	subscribe(t, db, "crm")
	rt.EmitKeyed(t, db, "k1")
	rt.RelayAll(t, store)
	id := eventOf(t, db, "k1")
	erase := func(want domain.ChangeAnswer) {
		t.Helper()
		changes, err := recall.New(db).Erase(t.Context(), &domain.Action{Actor: "a test"}, []domain.ID{id})
		if err != nil || len(changes) != 1 || changes[0].Answer != want {
			t.Fatalf("erase: %v, %v, want %s", changes, err, want)
		}
	}
	erase(domain.TooLateInFlight)
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_sent WHERE event_type = 'k1' AND payload <> ''"); n != 2 {
		t.Errorf("%d of an event and its delivery are as they were", n)
	}
	rt.Exec(t, db, "SELECT outboxd.confirm(id) FROM outbox_sent WHERE subscription IS NOT NULL")
	erase(domain.ChangeErased)
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_sent WHERE payload <> ''"); n != 0 {
		t.Errorf("%d have their payload", n)
	}
	tasks, err := recall.New(db).Tasks(t.Context(), []domain.ID{id})
	if err != nil || len(tasks) != 2 {
		t.Errorf("%d tasks are to be deleted, %v, want that of the event and that of its delivery: %+v", len(tasks), err, tasks)
	}
	adds(t, db, 1)
}

// A subscription with the name of a removed one is another subscription. The
// deliveries for the removed one are still cancelled with their event.
func TestDeliveriesOfAFormerSubscriptionAreTakenBack(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	subscribe(t, db, "crm")
	rt.EmitKeyed(t, db, "k1", "k2")
	rt.RelayAll(t, store)
	if err := subscriptions.New(db).Remove(t.Context(), &domain.Action{Actor: "a test"}, "crm"); err != nil {
		t.Fatal(err)
	}
	subscribe(t, db, "crm")
	if got := cancel(t, db, eventOf(t, db, "k2")); got != "cancelled" {
		t.Errorf("cancel: %s", got)
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_held"); n != 0 {
		t.Errorf("%d deliveries of a cancelled event wait", n)
	}
	adds(t, db, 2)
}

// A delivery is not attempted if its subscription was removed a while ago, so it
// can be cancelled or erased.
func TestDeliveriesOfARemovedSubscriptionCanBeTakenBack(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	subscribe(t, db, "crm")
	rt.EmitKeyed(t, db, "a1", "b1")
	rt.RelayAll(t, store)
	if err := subscriptions.New(db).Remove(t.Context(), &domain.Action{Actor: "a test"}, "crm"); err != nil {
		t.Fatal(err)
	}
	first, second := eventOf(t, db, "a1"), eventOf(t, db, "b1")
	if got := cancel(t, db, first); got != "requested" {
		t.Errorf("cancel while a worker may be at it: %s", got)
	}
	rt.Exec(t, db, "UPDATE outbox_subscriptions SET removed_at = now() - interval '2 minutes'")
	if got := cancel(t, db, first); got != "cancelled" {
		t.Errorf("cancel: %s", got)
	}
	if changes, err := recall.New(db).Erase(t.Context(), &domain.Action{Actor: "a test"}, []domain.ID{second}); err != nil || changes[0].Answer != domain.ChangeErased {
		t.Errorf("erase: %v, %v", changes, err)
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_sent"); n != 0 {
		t.Errorf("%d are in flight", n)
	}
	adds(t, db, 4)
}
