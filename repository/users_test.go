package repository_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/postgres"
)

func migrate(t *testing.T, db *postgres.Database) {
	t.Helper()
	if _, err := migrations.Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}

func TestRegisterWritesUserNotificationAndEvent(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	users := repository.NewUsers(db)
	user := domain.User{Email: "Ada@example.com", PasswordHash: "phc"}
	if err := users.Register(t.Context(), &user, "", map[string]string{"traceparent": "00-x"}); err != nil {
		t.Fatal(err)
	}
	found, notifications, err := users.FindUser(t.Context(), user.ID)
	if err != nil {
		t.Fatal(err)
	}
	if *found != user {
		t.Errorf("found %+v, want %+v", *found, user)
	}
	if len(notifications) != 1 {
		t.Fatalf("%d notifications", len(notifications))
	}
	n := notifications[0]
	if n.Type != "USER_REGISTRATION" || n.Status != "PENDING" || n.SentAt != nil || n.Message != domain.WelcomeMessage || n.UserID != user.ID {
		t.Errorf("notification %+v", n)
	}
	events := claim(t, repository.NewOutbox(db, repository.OutboxOptions{History: true}), 10).Events()
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	want := fmt.Sprintf(`{"user_id":%q,"notification_id":%q,"notification_type":"USER_REGISTRATION"}`, user.ID, n.ID)
	if e := events[0]; e.Type != "email:send_notification" || string(e.Payload) != want || e.Headers["traceparent"] != "00-x" || e.Queue != domain.NotificationQueue {
		t.Errorf("event %+v with payload %s, want payload %s", e, e.Payload, want)
	}
}

func TestARefusedRegistrationLeavesNothing(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	users := repository.NewUsers(db)
	if err := users.Register(t.Context(), &domain.User{Email: "ada@example.com", PasswordHash: "x"}, "first", nil); err != nil {
		t.Fatal(err)
	}
	err := users.Register(t.Context(), &domain.User{Email: "ADA@EXAMPLE.COM", PasswordHash: "x"}, "second", nil)
	var conflict *domain.Error
	if !errors.As(err, &conflict) || conflict.Code != domain.CodeConflict || len(conflict.Fields) != 1 || conflict.Fields[0].Field != "email" {
		t.Errorf("the same address in other case: %v, want a conflict of the field email", err)
	}
	// The event is what fails here, and takes the user with it.
	exec(t, db, `ALTER TABLE outbox ADD CHECK (headers = '{}')`)
	if err := users.Register(t.Context(), &domain.User{Email: "bob@example.com", PasswordHash: "x"}, "third", map[string]string{"a": "b"}); err == nil {
		t.Error("registered without an event")
	}
	for _, table := range []string{"users", "notifications", "outbox", "idempotency_keys"} {
		if n := count(t, db, "SELECT count(*) FROM "+table); n != 1 {
			t.Errorf("%d rows in %s, want 1", n, table)
		}
	}
}

func TestOneKeyAtOnceRegistersOneUser(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	users := repository.NewUsers(db)
	const requests = 12
	errs := make([]error, requests)
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			errs[i] = users.Register(t.Context(), &domain.User{Email: "ada@example.com", PasswordHash: "x"}, "key", nil)
		})
	}
	all.Wait()
	registered := 0
	for _, err := range errs {
		switch {
		case err == nil:
			registered++
		case !errors.Is(err, domain.ErrKeyUsed):
			t.Errorf("%v, want ErrKeyUsed", err)
		}
	}
	if registered != 1 {
		t.Errorf("%d registrations succeeded", registered)
	}
	user, err := users.FindUserByKey(t.Context(), "key")
	if err != nil || user.Email != "ada@example.com" {
		t.Errorf("FindUserByKey: %+v, %v", user, err)
	}
	if _, err := users.FindUserByKey(t.Context(), "other"); domain.ErrorCode(err) != domain.CodeNotFound {
		t.Errorf("an unknown key: %v, want not_found", err)
	}
	if _, _, err := users.FindUser(t.Context(), domain.ID{1}); domain.ErrorCode(err) != domain.CodeNotFound {
		t.Errorf("an unknown user: %v, want not_found", err)
	}
}
