package registration_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/repository"
	"outboxd/repository/postgres"
	store "outboxd/repository/registration"
)

func TestRegisterWritesUserNotificationAndEvent(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	users := store.NewUsers(db, schematest.Example(t, db))
	user := registration.User{Email: "Ada@example.com", PasswordHash: "phc"}
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
	if n.Type != "USER_REGISTRATION" || n.Status != "PENDING" || n.SentAt != nil || n.Message != registration.WelcomeMessage || n.UserID != user.ID {
		t.Errorf("notification %+v", n)
	}
	batch, err := repository.NewOutbox(db, repository.OutboxOptions{History: true}).Claim(t.Context(), domain.Cursor{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	events := batch.Events()
	if err := batch.Release(); err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	want := fmt.Sprintf(`{"user_id":%q,"notification_id":%q,"notification_type":"USER_REGISTRATION"}`, user.ID, n.ID)
	if e := events[0]; e.Type != "email:send_notification" || string(e.Payload) != want || e.Headers["traceparent"] != "00-x" || e.Queue != registration.NotificationQueue {
		t.Errorf("event %+v with payload %s, want payload %s", e, e.Payload, want)
	}
}

func TestARefusedRegistrationLeavesNothing(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	users := store.NewUsers(db, schematest.Example(t, db))
	if err := users.Register(t.Context(), &registration.User{Email: "ada@example.com", PasswordHash: "x"}, "first", nil); err != nil {
		t.Fatal(err)
	}
	err := users.Register(t.Context(), &registration.User{Email: "ADA@EXAMPLE.COM", PasswordHash: "x"}, "second", nil)
	var conflict *domain.Error
	if !errors.As(err, &conflict) || conflict.Code != domain.CodeConflict || len(conflict.Fields) != 1 || conflict.Fields[0].Field != "email" {
		t.Errorf("the same address in other case: %v, want a conflict of the field email", err)
	}
	// The event fails here, and its failure rolls back the user too.
	exec(t, db, `ALTER TABLE outbox ADD CHECK (headers = '{}')`)
	if err := users.Register(t.Context(), &registration.User{Email: "bob@example.com", PasswordHash: "x"}, "third", map[string]string{"a": "b"}); err == nil {
		t.Error("registered without an event")
	}
	for _, table := range []string{"outboxd_example.users", "outboxd_example.notifications", "outbox", "outboxd_example.idempotency_keys"} {
		if n := count(t, db, "SELECT count(*) FROM "+table); n != 1 {
			t.Errorf("%d rows in %s, want 1", n, table)
		}
	}
}

func TestOneKeyAtOnceRegistersOneUser(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	users := store.NewUsers(db, schematest.Example(t, db))
	const requests = 12
	errs := make([]error, requests)
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			errs[i] = users.Register(t.Context(), &registration.User{Email: "ada@example.com", PasswordHash: "x"}, "key", nil)
		})
	}
	all.Wait()
	registered := 0
	for _, err := range errs {
		switch {
		case err == nil:
			registered++
		case !errors.Is(err, registration.ErrKeyUsed):
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

func TestOldKeysAreTrimmed(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	users := store.NewUsers(db, schematest.Example(t, db))
	exec(t, db, `INSERT INTO outboxd_example.users (email, password_hash) VALUES ('ada@example.com', 'x')`)
	exec(t, db, `INSERT INTO outboxd_example.idempotency_keys SELECT 'k'||n, users.id, now() - n * interval '1 hour' FROM outboxd_example.users, generate_series(1, 10) n`)
	for _, want := range []int64{3, 2, 0} {
		if n, err := users.TrimKeys(t.Context(), 330*time.Minute, 3); err != nil || n != want {
			t.Errorf("TrimKeys: %d, %v, want %d", n, err, want)
		}
	}
}

// A role and its database may be set to anything, and a name may have any letter that the database can store.
func TestRegistrationUnderSettingsOfOthers(t *testing.T) {
	t.Parallel()
	hostile := []string{
		"client_encoding = 'LATIN1'", "DateStyle = 'SQL, DMY'", "TimeZone = 'Pacific/Apia'", "bytea_output = 'escape'",
		"standard_conforming_strings = off", "transform_null_equals = on", "default_transaction_read_only = on", "search_path = 'nowhere'",
	}
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			url := servertest.HostileDatabase(t, servertest.Hostile{Role: hostile, Database: hostile, Encoding: "LATIN1"})
			db, err := postgres.Open(t.Context(), postgres.Options{URL: url, MaxConns: 4, ExecMode: mode, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			migrate(t, db)
			users, user := store.NewUsers(db, schematest.Example(t, db)), &registration.User{Email: "adaé@example.com", PasswordHash: `\x\`}
			if err := users.Register(t.Context(), user, "key", map[string]string{"h": "é"}); err != nil {
				t.Fatal(err)
			}
			found, notifications, err := users.FindUser(t.Context(), user.ID)
			if err != nil || found.Email != user.Email || len(notifications) != 1 || notifications[0].Message != registration.WelcomeMessage ||
				time.Since(found.CreatedAt).Abs() > time.Minute {
				t.Fatalf("found %+v with %+v: %v", found, notifications, err)
			}
			if by, err := users.FindUserByKey(t.Context(), "key"); err != nil || by.ID != user.ID {
				t.Fatalf("found %+v by its key: %v", by, err)
			}
			unstorable := &registration.User{Email: "🚀@example.com", PasswordHash: "x"}
			if err := users.Register(t.Context(), unstorable, "", nil); domain.ErrorCode(err) != domain.CodeInvalid {
				t.Errorf("an address that cannot be stored: %v, want invalid", err)
			}
		})
	}
}
