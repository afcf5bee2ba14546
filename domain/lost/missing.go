package lost

import (
	"context"
	"time"

	"outboxd/domain"
)

// SentPage is one page of the history, in the order of the events' IDs.
type SentPage struct {
	// Waiting are the events of the page that were handed to the queue a while
	// ago and are not confirmed.
	Waiting []domain.SentEvent
	Open    int       // events of the page that are not confirmed, of any age
	Proven  []string  // the types of which the page has a confirmed event
	Last    domain.ID // the last ID on the page
	End     bool      // this is the last page
}

// MissingEvent is an event that is not confirmed, and that the queue will not
// run any more.
type MissingEvent struct {
	domain.SentEvent
	Task     domain.TaskPresence
	FoundAt  time.Time // when it was first missed
	Resends  int       // how often it was sent again because it was missing
	ResentAt time.Time // zero: never
	New      bool      // noted for the first time by this call
}

// MissingEvents compares the history with the queue, and remembers which events
// the queue misses. Its methods are safe for concurrent use.
//
// Errors: CodeUnavailable if the database cannot be reached.
type MissingEvents interface {
	// HandedOver returns a number that changes when events are handed to the
	// queue, give or take a second; it is negative if the database does not
	// count. It also returns the time by the database's clock.
	HandedOver(ctx context.Context) (int64, time.Time, error)

	// Page reads up to limit rows of the history after one ID and up to another. Waiting has only
	// events that were sent at least age ago. Events of the types in except count as confirmed.
	Page(ctx context.Context, after, until domain.ID, limit int, age time.Duration, except []string) (SentPage, error)

	// Note remembers events as missing, up to MissingNoted in all. It returns the
	// remembered ones of them that are still neither confirmed nor on their way.
	Note(ctx context.Context, events []MissingEvent) ([]MissingEvent, error)

	// Resend puts the unconfirmed ones of these events back into the outbox,
	// and returns how many.
	Resend(ctx context.Context, ids []domain.ID, why string) (int64, error)

	// Settle forgets events that are not missing any more: they were confirmed,
	// ended in another way, or were not noted again after since, by the
	// database's clock. It returns how many events are missing, and how many are
	// remembered: the missing ones, and those that were sent again and are not
	// confirmed yet.
	Settle(ctx context.Context, since time.Time) (missing, remembered int64, err error)

	// Missing returns up to limit events that are missing, the oldest first.
	Missing(ctx context.Context, limit int) ([]MissingEvent, error)
}

// MissingNoted is how many missing events are remembered.
const MissingNoted = 100_000
