package domain

import (
	"context"
	"encoding/json"
	"time"
)

// TypeSendNotification is the event and task type of a notification to be sent.
const TypeSendNotification = "email:send_notification"

// NotificationQueue is the queue of those events. It is theirs alone, so that
// the worker that serves it meets no task of another's.
const NotificationQueue = "notifications"

// NotificationStatus says how far a notification has come.
type NotificationStatus string

// The states of a notification.
const (
	NotificationPending NotificationStatus = "PENDING"
	NotificationSent    NotificationStatus = "SENT"
)

// NotificationRetention is how long Redis keeps the task of a notification that
// was sent, so that people can look at it. It costs Redis memory for as long.
const NotificationRetention = 10 * time.Minute

// The welcome to a new user.
const (
	NotificationUserRegistration = "USER_REGISTRATION"
	WelcomeMessage               = "Welcome! Your account has been created successfully."
)

// Notification is a message to a user.
type Notification struct {
	ID        ID
	UserID    ID
	Type      string // such as NotificationUserRegistration
	Message   string
	Status    NotificationStatus
	SentAt    *time.Time // nil until it was sent
	CreatedAt time.Time
}

// SendNotification is the payload of a TypeSendNotification event.
type SendNotification struct {
	UserID           ID     `json:"user_id"`
	NotificationID   ID     `json:"notification_id"`
	NotificationType string `json:"notification_type"`
}

// ParseSendNotification reads a payload. Its errors have CodeInvalid: no retry
// mends them.
func ParseSendNotification(payload []byte) (SendNotification, error) {
	var p SendNotification
	if err := json.Unmarshal(payload, &p); err != nil {
		return p, Wrap(CodeInvalid, err, "the payload is not a notification to send")
	}
	if p.UserID.IsZero() || p.NotificationID.IsZero() || p.NotificationType == "" {
		return p, Errorf(CodeInvalid, "the payload needs user_id, notification_id and notification_type")
	}
	return p, nil
}

// Message is what a Notifier sends: one notification to one recipient.
type Message struct {
	EventID ID     // lets the receiver tell a repeat: Message-ID, webhook-id
	To      string // e-mail address
	Type    string // the notification's type
	Text    string
	UserID  ID
	// NotificationID is the notification that the message carries out.
	NotificationID ID
	CreatedAt      time.Time // of the notification
}

// Notifier sends messages to the outside world. Sending cannot be undone and
// cannot share the database's transaction, so a message may go out again after
// a crash; its EventID is then the same. Methods are safe for concurrent use.
type Notifier interface {
	// Send returns when the receiver has accepted the message, or ctx ends.
	//
	// Errors: CodeInvalid if the receiver refused it for good; CodeUnavailable,
	// with RetryAfter where the receiver named a time, if it may accept it
	// later; any other error may succeed later too.
	Send(ctx context.Context, message Message) error
}

// A database that has gone back to an earlier state has not seen everything that
// the queue has.
var (
	// ErrTooEarly is the error for an event with an ordering key whose turn is
	// another event's. Its task has to come again, and is not to blame.
	ErrTooEarly = Errorf(CodeConflict, "the event's ordering key has another event's turn")
	// ErrUnknownEvent is the error for an event that does not exist, because the
	// transaction that wrote it is lost. The journal has it.
	ErrUnknownEvent = Errorf(CodeNotFound, "there is no such event any more")
)

// Inbox makes the effect of an event happen once.
type Inbox interface {
	// Process runs effect in a transaction that also records the event as
	// processed, and commits. If it was processed before, it runs nothing and
	// returns false. Of two concurrent calls for one event the second waits
	// for the first. An error of effect undoes all of it and is returned as
	// it is.
	//
	// Errors: CodeUnavailable if the database cannot be reached; ErrTooEarly and
	// ErrUnknownEvent, and then effect has not run.
	Process(ctx context.Context, id ID, effect func(ctx context.Context, tx Effects) error) (first bool, err error)
}

// Effects is what a task handler may change, inside the transaction that also
// records its event.
type Effects interface {
	// FindNotification returns a notification and the user it is for, without
	// the password's hash.
	// Errors: CodeNotFound, CodeUnavailable.
	FindNotification(ctx context.Context, id ID) (*Notification, *User, error)

	// MarkSent records that a notification went out now.
	// Errors: CodeNotFound, CodeUnavailable.
	MarkSent(ctx context.Context, id ID) error
}
