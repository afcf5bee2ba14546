package subscriptions_test

import (
	"reflect"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository/subscriptions"
)

func person() *domain.Action { return &domain.Action{Actor: "ada@here", Reason: "test"} }

func crm() domain.Subscription {
	return domain.Subscription{
		Name: "crm", Types: []string{"user:*", "order:paid"}, Headers: map[string]string{"region": "eu"}, URL: "https://crm.example.com/hooks",
		Secrets: []string{"env:CRM_SECRET", "file:/run/secrets/crm"}, Format: domain.FormatCloudEvents, Timeout: 1500 * time.Millisecond, Concurrency: 50, Rate: 200,
		Attempts: 3, RetryMax: time.Minute, Ordering: domain.OrderingKey, InsteadOfQueue: true,
	}
}

// TestApplyKeepsWhatItIsGiven applies, applies the same again, and changes one field.
func TestApplyKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	one, other := crm(), domain.Subscription{Name: "search", Types: []string{"*"}, URL: "http://search.example.com"}.WithDefaults()
	apply := func(want ...domain.SubscriptionChange) {
		t.Helper()
		changes, err := store.Apply(t.Context(), person(), []domain.Subscription{one, other})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(changes, want) {
			t.Errorf("%q, want %q", changes, want)
		}
	}
	apply(domain.SubscriptionAdded, domain.SubscriptionAdded)
	apply(domain.SubscriptionUnchanged, domain.SubscriptionUnchanged)
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
	apply(domain.SubscriptionChanged, domain.SubscriptionUnchanged)
	list, err := store.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Rate != 0 || list[0].ID != first.ID || list[1].Name != "search" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestPauseKeepsTheFirstReason pauses twice, applies in between, and resumes.
func TestPauseKeepsTheFirstReason(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	s := crm()
	apply := func() {
		t.Helper()
		if _, err := store.Apply(t.Context(), person(), []domain.Subscription{s}); err != nil {
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

// TestARemovedSubscriptionIsAnotherOneWhenItIsAppliedAgain also has another ID, so that its deliveries are new ones.
func TestARemovedSubscriptionIsAnotherOneWhenItIsAppliedAgain(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	find := func() *domain.Subscription {
		t.Helper()
		found, err := store.Find(t.Context(), "crm")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	apply := func() {
		t.Helper()
		if changes, err := store.Apply(t.Context(), person(), []domain.Subscription{crm()}); err != nil || changes[0] != domain.SubscriptionAdded {
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

// TestApplyIsAllOrNothing gives a good one and a bad one.
func TestApplyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	store := subscriptions.New(schematest.Open(t))
	bad := crm()
	bad.Name = "Bad Name"
	if _, err := store.Apply(t.Context(), person(), []domain.Subscription{crm(), bad}); domain.ErrorCode(err) != domain.CodeInvalid {
		t.Error(err)
	}
	if list, err := store.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
