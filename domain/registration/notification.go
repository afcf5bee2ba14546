package registration

import (
	"context"
	"encoding/json"
	"time"

	"outboxd/domain"
)

// TypeSendNotification is the type of events and tasks that ask a worker to send a notification.
const TypeSendNotification = "email:send_notification"

// NotificationQueue is the queue of TypeSendNotification events. outboxd itself writes no other events to this queue.
const NotificationQueue = "notifications"

// NotificationStatus says whether a notification was sent.
type NotificationStatus string

// The states of a notification.
const (
	NotificationPending NotificationStatus = "PENDING"
	NotificationSent    NotificationStatus = "SENT"
)

// NotificationRetention is how long Redis keeps the completed task of a notification, so that people can inspect
// it. It costs memory in Redis.
const NotificationRetention = 10 * time.Minute

// The welcome to a new user.
const (
	NotificationUserRegistration = "USER_REGISTRATION"
	WelcomeMessage               = "Welcome! Your account has been created successfully."
)

// Notification is a message to a user.
type Notification struct {
	ID        domain.ID
	UserID    domain.ID
	Type      string // such as NotificationUserRegistration
	Message   string
	Status    NotificationStatus
	SentAt    *time.Time // nil until it was sent
	CreatedAt time.Time
}

// SendNotification is the payload of a TypeSendNotification event.
type SendNotification struct {
	UserID           domain.ID `json:"user_id"`
	NotificationID   domain.ID `json:"notification_id"`
	NotificationType string    `json:"notification_type"`
}

// ParseSendNotification reads a payload. Its errors have domain.CodeInvalid: a retry would not help.
func ParseSendNotification(payload []byte) (SendNotification, error) {
	var p SendNotification
	if err := json.Unmarshal(payload, &p); err != nil {
		return p, domain.Wrap(domain.CodeInvalid, err, "the payload is not a notification to send")
	}
	if p.UserID.IsZero() || p.NotificationID.IsZero() || p.NotificationType == "" {
		return p, domain.Errorf(domain.CodeInvalid, "the payload needs user_id, notification_id and notification_type")
	}
	return p, nil
}

// Message is what a Notifier sends: one notification to one recipient.
type Message struct {
	EventID domain.ID // the Message-ID or webhook-id, by which the receiver can tell a repeat
	To      string    // e-mail address
	Type    string    // the notification's type
	Text    string
	UserID  domain.ID
	// NotificationID is the notification that this message sends.
	NotificationID domain.ID
	CreatedAt      time.Time // of the notification
}

// Notifier sends messages to the outside world. Sending cannot be undone, and
// is not part of a database transaction. So a message may go out again after a
// crash, with the same EventID. Methods are safe for concurrent use.
type Notifier interface {
	// Send returns nil when the receiver has accepted the message.
	//
	// Errors: domain.CodeInvalid if the receiver refused the message permanently; domain.CodeUnavailable if it may accept the
	// message later, with RetryAfter if it named a time. After any other error a later attempt may succeed too.
	Send(ctx context.Context, message Message) error
}

// NotificationStore keeps notifications. Its methods are safe for concurrent use.
type NotificationStore interface {
	// FindNotification returns a notification and its user, without the hash of the password.
	//
	// Errors: domain.CodeNotFound, domain.CodeUnavailable.
	FindNotification(ctx context.Context, id domain.ID) (*Notification, *User, error)

	// MarkSent records that a notification was sent now. MarkSent writes in tx, the transaction that confirms the
	// event.
	//
	// Errors: domain.CodeNotFound, domain.CodeUnavailable.
	MarkSent(ctx context.Context, tx domain.Effects, id domain.ID) error
}
