package registration

import (
	"context"

	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/jobs"
)

// SendNotification returns the handler of registration.TypeSendNotification: it sends
// a notification through notifier and marks it sent.
//
// The message goes out before the transaction commits. If the process dies in
// between, it goes out again, with the same event ID.
func SendNotification(store registration.NotificationStore, notifier registration.Notifier) jobs.Handler {
	return func(ctx context.Context, tx domain.Effects, task jobs.Task) error {
		payload, err := registration.ParseSendNotification(task.Payload)
		if err != nil {
			return err
		}
		notification, user, err := store.FindNotification(ctx, tx, payload.NotificationID)
		if domain.ErrorCode(err) == domain.CodeNotFound {
			return domain.Wrap(domain.CodeInvalid, err, "the notification to send does not exist")
		} else if err != nil {
			return err
		}
		if notification.UserID != payload.UserID || notification.Type != payload.NotificationType {
			return domain.Errorf(domain.CodeInvalid, "the payload does not match notification %s", notification.ID)
		}
		err = notifier.Send(ctx, registration.Message{
			EventID: task.EventID, To: user.Email, Type: notification.Type, Text: notification.Message,
			UserID: user.ID, NotificationID: notification.ID, CreatedAt: notification.CreatedAt,
		})
		if err != nil {
			return err
		}
		return store.MarkSent(ctx, tx, notification.ID)
	}
}
