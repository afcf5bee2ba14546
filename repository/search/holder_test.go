package search_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/setup"
	"outboxd/repository"
	"outboxd/repository/search"
	"outboxd/repository/subscriptions"
)

// A delivery waits for an earlier event of its event's key that is not due yet: the
// deliveries of that event are not made. Every view names that event, and the account says
// that nothing is wrong.
func TestADeliveryIsHeldByAnEventWithoutDeliveries(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	subscription := setup.Subscription{Name: "crm", Types: []string{"k*"}, URL: "http://receiver.example.com", Ordering: setup.OrderingKey}.WithDefaults()
	if _, err := subscriptions.New(db).Apply(t.Context(), &domain.Action{Actor: "ada"}, []setup.Subscription{subscription}); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "SELECT outboxd.emit('k1', '{}', ordering_key => 'k', available_at => '2100-01-01Z')")
	emitKeyed(t, db, "k2")
	relayAll(t, repository.NewOutbox(db, repository.OutboxOptions{History: true}))
	exec(t, db, "UPDATE outbox_held SET held_at = now() - interval '1 hour'")
	const key = "subscription:crm:k"
	if n := count(t, db, "SELECT count(*) FROM outbox_held WHERE ordering_key = '"+key+"'"); n != 1 {
		t.Fatalf("%d deliveries are held, want 1", n)
	}

	holder := find(t, db, "k1")
	if violations, err := search.NewAuditor(db).Violations(t.Context(), nil, 10); err != nil || len(violations) > 0 {
		t.Errorf("violations: %+v, %v", violations, err)
	}
	list, _, err := search.NewHeldKeys(db).List(t.Context(), []string{key}, 10)
	if err != nil || len(list) != 1 || list[0].Turn == nil || list[0].Turn.ID != holder || list[0].Turn.State != lives.StatePending {
		t.Fatalf("held keys: %+v, %v, want one that waits for %s", list, err, holder)
	}
	reader := search.NewLives(db)
	if life, err := reader.Find(t.Context(), list[0].Next); err != nil || life.TurnOf != holder {
		t.Errorf("the life of the delivery: %+v, %v", life, err)
	}
	found, err := reader.Search(t.Context(), lives.Filter{OrderingKey: key}, domain.ID{}, 10)
	if err != nil || len(found.Events) != 1 || found.Events[0].WaitsFor != holder {
		t.Errorf("a search for the delivery: %+v, %v", found, err)
	}

	// With the earlier event gone, the delivery has nothing left to wait for.
	exec(t, db, "DELETE FROM outbox")
	violations, err := search.NewAuditor(db).Violations(t.Context(), nil, 10)
	if err != nil || len(violations) != 2 {
		t.Errorf("violations: %+v, %v, want the event and its delivery", violations, err)
	}
}
