package registration_test

import (
	"context"
	"errors"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/repository/confirm"
	store "outboxd/repository/registration"
)

func TestANotificationIsFoundAndMarkedInTheTransactionThatConfirms(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	schema := schematest.Example(t, db)
	users, notifications := store.NewUsers(db, schema), store.NewNotifications(db, schema)
	user := &registration.User{Email: "ada@example.com", PasswordHash: "x"}
	if err := users.Register(t.Context(), user, "", nil); err != nil {
		t.Fatal(err)
	}
	notification := func() registration.Notification {
		_, all, err := users.FindUser(t.Context(), user.ID)
		if err != nil || len(all) != 1 {
			t.Fatalf("%d notifications, %v", len(all), err)
		}
		return all[0]
	}
	failure := errors.New("undone")
	for _, want := range []error{failure, nil} {
		_, err := confirm.NewInbox(db).Process(t.Context(), domain.ID{7}, func(ctx context.Context, tx domain.Effects) error {
			n, to, err := notifications.FindNotification(ctx, notification().ID)
			if err != nil || to.Email != user.Email || to.PasswordHash != "" || n.Message != registration.WelcomeMessage {
				t.Errorf("found %+v for %+v, %v", n, to, err)
			}
			if _, _, err := notifications.FindNotification(ctx, domain.ID{1}); domain.ErrorCode(err) != domain.CodeNotFound {
				t.Errorf("an unknown notification: %v, want not_found", err)
			}
			if err := notifications.MarkSent(ctx, tx, domain.ID{1}); domain.ErrorCode(err) != domain.CodeNotFound {
				t.Errorf("marking an unknown notification: %v, want not_found", err)
			}
			return errors.Join(notifications.MarkSent(ctx, tx, n.ID), want)
		})
		if !errors.Is(err, want) {
			t.Errorf("Process: %v, want %v", err, want)
		}
		if n := notification(); (n.Status == registration.NotificationSent) != (want == nil) || (n.SentAt != nil) != (want == nil) {
			t.Errorf("after %v: %+v", want, n)
		}
	}
}
