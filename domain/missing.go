package domain

import (
	"context"
	"time"
)

// SentPage is a part of the history, in the order of the events' IDs.
type SentPage struct {
	// Waiting are its events that were handed to the queue a while ago and are
	// not confirmed.
	Waiting []SentEvent
	Open    int      // how many of its events are not confirmed, however young
	Proven  []string // the types of its events that are
	Last    ID       // of its events
	End     bool     // no event comes after it in what was asked for
}

// MissingEvent is an event that is not confirmed, and whose task the queue will
// not run any more.
type MissingEvent struct {
	SentEvent
	Task     TaskPresence
	FoundAt  time.Time // when it was first missed
	Resends  int       // how often it was sent again for that
	ResentAt time.Time // zero: never
	New      bool      // noted for the first time just now
}

// MissingEvents compares the history with what the queue has, and remembers what
// is missing there. Its methods are safe for concurrent use.
//
// Errors: CodeUnavailable if the database cannot be reached.
type MissingEvents interface {
	// HandedOver returns a number that differs from an earlier one if events were
	// handed to the queue since, give or take a second; negative where the
	// database does not count. With it comes the time, by the database's clock.
	HandedOver(ctx context.Context) (int64, time.Time, error)

	// Page reads the history after one ID and up to another: as many rows as the limit says, and of
	// those the events that were sent at least age ago. Events of the types in
	// except count as confirmed.
	Page(ctx context.Context, after, until ID, limit int, age time.Duration, except []string) (SentPage, error)

	// Note remembers events as missing, up to MissingNoted of them, and returns
	// those that it remembers and that are neither confirmed nor on their way by now.
	Note(ctx context.Context, events []MissingEvent) ([]MissingEvent, error)

	// Resend puts events back into the outbox that are not confirmed, and
	// returns how many.
	Resend(ctx context.Context, ids []ID, why string) (int64, error)

	// Settle forgets what is not missing any more: what was confirmed, has ended
	// in another way, or has not been noted again since then, by the database's
	// clock. It returns how many events are missing, and how many are remembered:
	// those, and what was sent again and is not confirmed yet.
	Settle(ctx context.Context, since time.Time) (missing, remembered int64, err error)

	// Missing returns up to limit events that are missing, the oldest first.
	Missing(ctx context.Context, limit int) ([]MissingEvent, error)
}

// MissingNoted is how many missing events are remembered.
const MissingNoted = 100_000
