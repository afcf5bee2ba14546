package registration

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/jobs/work"
)

// SendNotification returns the handler for registration.TypeSendNotification. The handler sends a
// notification through notifier and marks it as sent.
//
// The handler sends the message before the worker records in the database that it was sent. If the
// process dies in between, or the record fails, the message is sent again, with the same event ID.
func SendNotification(store registration.NotificationStore, notifier registration.Notifier) work.Outward {
	return func(ctx context.Context, task work.Task) (work.Record, error) {
		payload, err := registration.ParseSendNotification(task.Payload)
		if err != nil {
			return nil, err
		}
		notification, user, err := store.FindNotification(ctx, payload.NotificationID)
		switch domain.ErrorCode(err) {
		case "":
		case domain.CodeNotFound:
			return nil, domain.Wrap(domain.CodeInvalid, err, "the notification to send does not exist")
		case domain.CodeUnavailable:
			return nil, &work.Postponed{Err: err, Delay: databaseAgain}
		default:
			return nil, err
		}
		if notification.UserID != payload.UserID || notification.Type != payload.NotificationType {
			return nil, domain.Errorf(domain.CodeInvalid, "the payload does not match notification %s", notification.ID)
		}
		err = notifier.Send(ctx, registration.Message{
			EventID: task.EventID, To: user.Email, Type: notification.Type, Text: notification.Message,
			UserID: user.ID, NotificationID: notification.ID, CreatedAt: notification.CreatedAt,
		})
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, tx domain.Effects) error { return store.MarkSent(ctx, tx, notification.ID) }, nil
	}
}

// databaseAgain is how long a task waits if it could not reach the database.
const databaseAgain = 2 * time.Second
