package subscriptions_test

import (
	"reflect"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/repository/subscriptions"
)

func person() *domain.Action { return &domain.Action{Actor: "ada@here", Reason: "test"} }

func crm() setup.Subscription {
	return setup.Subscription{
		Name: "crm", Types: []string{"user:*", "order:paid"}, Headers: map[string]string{"region": "eu"}, URL: "https://crm.example.com/hooks",
		Secrets: []string{"env:CRM_SECRET", "file:/run/secrets/crm"}, Format: setup.FormatCloudEvents, Timeout: 1500 * time.Millisecond, Concurrency: 50, Rate: 200,
		Attempts: 3, RetryMax: time.Minute, Ordering: setup.OrderingKey, InsteadOfQueue: true,
	}
}

// Subscriptions are applied, applied again as they are, and applied with one field changed.
func TestApplyKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	one, other := crm(), setup.Subscription{Name: "search", Types: []string{"*"}, URL: "http://search.example.com"}.WithDefaults()
	apply := func(want ...setup.Applied) {
		t.Helper()
		changes, err := store.Apply(t.Context(), person(), []setup.Subscription{one, other})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(changes, want) {
			t.Errorf("%q, want %q", changes, want)
		}
	}
	apply(setup.AppliedAdded, setup.AppliedAdded)
	apply(setup.AppliedUnchanged, setup.AppliedUnchanged)
	first, err := store.Find(t.Context(), "crm")
	if err != nil {
		t.Fatal(err)
	}
	got := *first
	got.ID, got.CreatedAt, got.ChangedAt = domain.ID{}, time.Time{}, time.Time{}
	if !reflect.DeepEqual(got, crm()) {
		t.Errorf("%+v\nwant %+v", got, crm())
	}
	one.Rate = 0
	apply(setup.AppliedChanged, setup.AppliedUnchanged)
	list, err := store.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Rate != 0 || list[0].ID != first.ID || list[1].Name != "search" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A subscription that is paused twice and then changed stays paused for the first reason, until it is resumed.
func TestPauseKeepsTheFirstReason(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	s := crm()
	apply := func() {
		t.Helper()
		if _, err := store.Apply(t.Context(), person(), []setup.Subscription{s}); err != nil {
			t.Fatal(err)
		}
	}
	apply()
	if err := store.Pause(t.Context(), &domain.Action{Actor: "worker", Reason: "the receiver is gone (410)"}, "crm"); err != nil {
		t.Fatal(err)
	}
	if err := store.Pause(t.Context(), person(), "crm"); err != nil {
		t.Fatal(err)
	}
	s.Concurrency = 7
	apply()
	found, err := store.Find(t.Context(), "crm")
	if err != nil || found.Paused == nil || found.Paused.By != "worker" || found.Paused.Reason != "the receiver is gone (410)" || found.Paused.Since.IsZero() || found.Concurrency != 7 {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := store.Resume(t.Context(), person(), "crm"); err != nil {
		t.Fatal(err)
	}
	if found, err = store.Find(t.Context(), "crm"); err != nil || found.Paused != nil {
		t.Errorf("%+v, %v", found, err)
	}
	for name, err := range map[string]error{
		"pause": store.Pause(t.Context(), person(), "nobody"), "resume": store.Resume(t.Context(), person(), "nobody"),
	} {
		if domain.ErrorCode(err) != domain.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The URL of the subscription changes before the receiver's answer arrives.
func TestAReceiverPausesItsOwnSubscriptionOnly(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := subscriptions.New(db)
	s := crm()
	apply := func() *setup.Subscription {
		t.Helper()
		if _, err := store.Apply(t.Context(), person(), []setup.Subscription{s}); err != nil {
			t.Fatal(err)
		}
		found, err := store.Find(t.Context(), "crm")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	pause := func(of *setup.Subscription, want bool) {
		t.Helper()
		if paused, err := store.PauseReceiver(t.Context(), &domain.Action{Actor: "worker", Reason: "410"}, of); err != nil || paused != want {
			t.Errorf("paused: %v, %v, want %v", paused, err, want)
		}
		if found, err := store.Find(t.Context(), "crm"); err != nil || (found.Paused != nil) != want {
			t.Errorf("%+v, %v", found, err)
		}
	}
	former := apply()
	s.URL = "https://crm.example.com/moved"
	present := apply()
	pause(former, false)
	var actions int
	if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM outbox_actions WHERE action = 'pause'").Scan(&actions); err != nil || actions != 0 {
		t.Errorf("%d actions are on record, %v", actions, err)
	}
	// Other changes leave the receiver the same.
	s.Concurrency = 3
	apply()
	pause(present, true)
	if err := store.Remove(t.Context(), person(), "crm"); err != nil {
		t.Fatal(err)
	}
	apply()
	pause(present, false)
}

// Two workers report that a receiver is down. A report is valid for a limited time.
func TestAReceiverIsDownForAsLongAsAWorkerSaysSo(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	if _, err := store.Apply(t.Context(), person(), []setup.Subscription{crm()}); err != nil {
		t.Fatal(err)
	}
	find := func() *setup.Subscription {
		t.Helper()
		found, err := store.Find(t.Context(), "crm")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	s := find()
	down := func(long, holds time.Duration) {
		t.Helper()
		if err := store.Down(t.Context(), s, long, "status 503", holds); err != nil {
			t.Fatal(err)
		}
	}
	down(time.Hour, time.Minute)
	down(time.Second, time.Minute)
	if d := find().Down; d == nil || time.Since(d.Since) < 50*time.Minute || d.Reason != "status 503" {
		t.Errorf("%+v", d)
	}
	if err := store.Up(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if d := find().Down; d != nil {
		t.Errorf("it works again: %+v", d)
	}
	down(time.Hour, -time.Second) // the worker that reported it is gone
	if d := find().Down; d != nil {
		t.Errorf("nobody says so any more: %+v", d)
	}
	down(time.Second, time.Minute)
	if d := find().Down; d == nil || time.Since(d.Since) > time.Minute {
		t.Errorf("%+v", d)
	}
}

// A subscription that is removed and applied again gets another ID, so that its deliveries have other IDs too.
func TestARemovedSubscriptionIsAnotherOneWhenItIsAppliedAgain(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	find := func() *setup.Subscription {
		t.Helper()
		found, err := store.Find(t.Context(), "crm")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	apply := func() {
		t.Helper()
		if changes, err := store.Apply(t.Context(), person(), []setup.Subscription{crm()}); err != nil || changes[0] != setup.AppliedAdded {
			t.Fatalf("%q, %v", changes, err)
		}
	}
	apply()
	first := find()
	if err := store.Remove(t.Context(), person(), "crm"); err != nil {
		t.Fatal(err)
	}
	if find().RemovedAt.IsZero() {
		t.Error("it is not removed")
	}
	if err := store.Remove(t.Context(), person(), "crm"); domain.ErrorCode(err) != domain.CodeNotFound {
		t.Error(err)
	}
	apply()
	if second := find(); !second.RemovedAt.IsZero() || second.ID == first.ID {
		t.Errorf("%+v", second)
	}
}

// A valid and an invalid subscription are applied together.
func TestApplyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	bad := crm()
	bad.Name = "Bad Name"
	if _, err := store.Apply(t.Context(), person(), []setup.Subscription{crm(), bad}); domain.ErrorCode(err) != domain.CodeInvalid {
		t.Error(err)
	}
	if list, err := store.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
