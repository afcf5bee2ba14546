package lost

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/domain/queued"
)

// SentPage is one page of outbox_sent (the history), in the order of the events' IDs.
type SentPage struct {
	// Waiting has the page's events that are neither confirmed nor dead, and that were handed to Redis at least as
	// long ago as the argument age of Page, or at a time that lies in the future.
	Waiting []domain.SentEvent
	Open    int       // events of the page that are not confirmed, of any age
	Proven  []string  // the types of which the page has a confirmed event
	Last    domain.ID // the next page begins after this ID
	End     bool      // this is the last page
}

// MissingEvent is an event that is not confirmed and whose task is lost or completed, so that no worker will run it.
type MissingEvent struct {
	domain.SentEvent
	Task     queued.TaskPresence
	FoundAt  time.Time // when it was first missed
	Resends  int       // how often it was sent again because it was missing
	ResentAt time.Time // zero: never
	New      bool      // noted for the first time by this call
	Proven   bool      // other events of its type were confirmed
}

// MissingEvents reads the history for the comparison with Redis, and stores which events have lost their task. Its
// methods are safe for concurrent use.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
type MissingEvents interface {
	// HandedOver returns a number that changes, usually within a second, when events are handed to Redis. The number
	// is negative if the database keeps no statistics. It also returns the database's time.
	HandedOver(ctx context.Context) (int64, time.Time, error)

	// Page reads about limit rows of the history: those with IDs greater than the first given ID, up to and
	// including the second. The parameter age is the shortest time since an event of SentPage.Waiting was handed to
	// Redis. Events of the types that the parameter except lists count as confirmed, but their deliveries do not.
	// Events that have only deliveries count as confirmed.
	Page(ctx context.Context, after, until domain.ID, limit int, age time.Duration, except []string) (SentPage, error)

	// Note stores events as missing. Once MissingNoted events are stored, it adds no others. Once half as many are
	// stored, it adds only events with the field Proven: a consumer that confirms nothing must not fill the store. Note
	// returns those of the given events that are stored and are still neither confirmed nor sent again.
	Note(ctx context.Context, events []MissingEvent) ([]MissingEvent, error)

	// Resend puts the given events back into the outbox, except confirmed and dead ones, and returns how many it put
	// back. It leaves out events that have only deliveries, and events that another transaction has locked. If the outbox refuses an event, Resend makes a dead letter
	// of it, so that the other events go back. If that fails too, the event stays in the history, and the try counts as
	// one of its Resends. If the outbox refuses every event, Resend returns an error, and the tries do not count.
	Resend(ctx context.Context, ids []domain.ID, why string) (int64, error)

	// Settle deletes stored events that are no longer missing: they were confirmed, ended in another way, or were
	// not noted again since the given time, by the database's clock. Settle returns how many events are missing and
	// how many are stored. A stored event is missing, or it was sent again and is not confirmed yet.
	Settle(ctx context.Context, since time.Time) (missing, remembered int64, err error)

	// Missing returns up to limit missing events, oldest first.
	Missing(ctx context.Context, limit int) ([]MissingEvent, error)
}

// MissingNoted is the number of stored events from which on MissingEvents.Note adds no others.
const MissingNoted = 100_000
