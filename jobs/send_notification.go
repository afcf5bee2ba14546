package jobs

import (
	"context"

	"outboxd/domain"
)

// SendNotification returns the Handler of domain.TypeSendNotification: it sends
// a notification through notifier and marks it sent.
//
// The message goes out before the transaction commits. If the process dies in
// between, it goes out again, with the same event ID.
func SendNotification(notifier domain.Notifier) Handler {
	return func(ctx context.Context, tx domain.Effects, task Task) error {
		payload, err := domain.ParseSendNotification(task.Payload)
		if err != nil {
			return err
		}
		notification, user, err := tx.FindNotification(ctx, payload.NotificationID)
		if domain.ErrorCode(err) == domain.CodeNotFound {
			return domain.Wrap(domain.CodeInvalid, err, "the notification to send does not exist")
		} else if err != nil {
			return err
		}
		if notification.UserID != payload.UserID || notification.Type != payload.NotificationType {
			return domain.Errorf(domain.CodeInvalid, "the payload does not match notification %s", notification.ID)
		}
		err = notifier.Send(ctx, domain.Message{
			EventID: task.EventID, To: user.Email, Type: notification.Type, Text: notification.Message,
			UserID: user.ID, NotificationID: notification.ID, CreatedAt: notification.CreatedAt,
		})
		if err != nil {
			return err
		}
		return tx.MarkSent(ctx, notification.ID)
	}
}
