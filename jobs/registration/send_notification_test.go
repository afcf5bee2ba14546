package registration_test

import (
	"context"
	"fmt"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	example "outboxd/domain/registration"
	"outboxd/jobs/registration"
	"outboxd/jobs/work"
	"outboxd/repository/confirm"
	store "outboxd/repository/registration"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// recorder is a notifier that keeps its messages and fails on demand.
type recorder struct {
	sent []example.Message
	fail error
}

func (r *recorder) Send(_ context.Context, m example.Message) error {
	r.sent = append(r.sent, m)
	return r.fail
}

func TestSendNotification(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	schema := schematest.Example(t, db)
	users, inbox := store.NewUsers(db, schema), confirm.NewInbox(db)
	user := &example.User{Email: "ada@example.com", PasswordHash: "x"}
	if err := users.Register(t.Context(), user, "", nil); err != nil {
		t.Fatal(err)
	}
	find := func() example.Notification {
		_, notifications, err := users.FindUser(t.Context(), user.ID)
		if err != nil || len(notifications) != 1 {
			t.Fatalf("%d notifications, %v", len(notifications), err)
		}
		return notifications[0]
	}
	notification := find()
	good := fmt.Sprintf(`{"user_id":%q,"notification_id":%q,"notification_type":%q}`, user.ID, notification.ID, notification.Type)
	event := byte(0)
	process := func(notifier *recorder, payload string) (domain.ID, error) {
		event++
		id, handle := domain.ID{15: event}, registration.SendNotification(store.NewNotifications(db, schema), notifier)
		record, err := handle(t.Context(), work.Task{EventID: id, Payload: []byte(payload)})
		if err == nil {
			_, err = inbox.Process(t.Context(), id, record)
		}
		return id, err
	}
	for name, payload := range map[string]string{
		"broken":          `{broken`,
		"empty":           `{}`,
		"a bad ID":        fmt.Sprintf(`{"user_id":"x","notification_id":%q,"notification_type":"T"}`, notification.ID),
		"no such":         fmt.Sprintf(`{"user_id":%q,"notification_id":%q,"notification_type":"T"}`, user.ID, domain.ID{99}),
		"somebody else's": fmt.Sprintf(`{"user_id":%q,"notification_id":%q,"notification_type":%q}`, domain.ID{99}, notification.ID, notification.Type),
		"of another type": fmt.Sprintf(`{"user_id":%q,"notification_id":%q,"notification_type":"OTHER"}`, user.ID, notification.ID),
	} {
		notifier := new(recorder)
		if _, err := process(notifier, payload); domain.ErrorCode(err) != domain.CodeInvalid || len(notifier.sent) != 0 {
			t.Errorf("%s: %v and %d messages, want invalid and none", name, err, len(notifier.sent))
		}
	}
	for _, failure := range []error{domain.Errorf(domain.CodeInvalid, "no such mailbox"), domain.Errorf(domain.CodeUnavailable, "busy")} {
		if _, err := process(&recorder{fail: failure}, good); domain.ErrorCode(err) != domain.ErrorCode(failure) || find().Status != example.NotificationPending {
			t.Errorf("a failed sending: %v and %s, want %v and a notification that is pending", err, find().Status, failure)
		}
	}
	notifier := new(recorder)
	id, err := process(notifier, good)
	if err != nil || len(notifier.sent) != 1 || find().Status != example.NotificationSent {
		t.Fatalf("%v, %d messages, %s", err, len(notifier.sent), find().Status)
	}
	if m := notifier.sent[0]; m.EventID != id || m.To != user.Email || m.Text != example.WelcomeMessage || m.UserID != user.ID || m.NotificationID != notification.ID {
		t.Errorf("sent %+v", m)
	}
}
