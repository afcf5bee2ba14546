package domain

import (
	"context"
	"database/sql"
)

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

	// Ask tells whether Process would run an effect now. It holds nothing once it
	// has returned: it is for effects outside the database, which no transaction
	// should wait for. It waits for a call of Process for the same event. Its
	// errors are those of Process.
	Ask(ctx context.Context, id ID) (first bool, err error)
}

// Effects is the transaction in which the changes of a handler and the record
// of its event are committed together.
type Effects interface {
	// Tx returns the transaction. A handler makes its changes through it, and
	// neither commits it nor rolls it back. It must not be used once the handler
	// has returned. repository.TransactionOf returns the same transaction as
	// GORM has it.
	Tx() *sql.Tx
}
