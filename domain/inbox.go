package domain

import (
	"context"
	"database/sql"
)

// The errors of a database that has gone back to an earlier state, so that the
// queue has tasks that the database does not expect.
var (
	// ErrTooEarly is the error for an event whose ordering key has another
	// event's turn. Its task must come again, and no attempt is charged to it.
	ErrTooEarly = Errorf(CodeConflict, "the event's ordering key has another event's turn")
	// ErrUnknownEvent is the error for an event that does not exist, because the
	// transaction that wrote it is lost. The journal has an entry for it.
	ErrUnknownEvent = Errorf(CodeNotFound, "there is no such event any more")
)

// Inbox makes the effect of an event happen once.
type Inbox interface {
	// Process runs effect in a transaction that also records the event as
	// processed, and commits. If the event was processed before, Process runs
	// nothing and returns false. If two calls for one event run at once, the
	// second waits for the first. An error of effect undoes the transaction and
	// is returned unchanged.
	//
	// Errors: CodeUnavailable if the database cannot be reached; ErrTooEarly and
	// ErrUnknownEvent, and then effect has not run.
	Process(ctx context.Context, id ID, effect func(ctx context.Context, tx Effects) error) (first bool, err error)

	// Ask reports whether Process would run an effect now. It is for effects
	// outside the database, during which no transaction should be open: it keeps
	// no lock after it returns. It waits for a running Process of the same event.
	// Its errors are those of Process.
	Ask(ctx context.Context, id ID) (first bool, err error)

	// ProcessAll is Process for several different events in one transaction. effect
	// gets those that take effect now, in the order of ids, and is not called if
	// there are none. What became of each event is in the list, in the order of ids.
	// An error undoes all of it and says nothing about any one of them.
	//
	// Errors: CodeUnavailable if the database cannot be reached; those of effect.
	ProcessAll(ctx context.Context, ids []ID, effect func(ctx context.Context, tx Effects, first []ID) error) (list []Confirmation, err error)

	// AskAll is Ask for several different events. Its errors are those of ProcessAll.
	AskAll(ctx context.Context, ids []ID) ([]Confirmation, error)
}

// Confirmation is what became of one event of several.
type Confirmation struct {
	First bool  // it takes effect now; otherwise it did before, unless Err says more
	Err   error // ErrTooEarly, ErrUnknownEvent or nil
}

// Effects is the transaction in which the changes of a handler and the record
// of its event are committed together.
type Effects interface {
	// Tx returns the transaction. A handler makes its changes through it, must
	// neither commit nor roll it back, and must not use it after returning.
	// repository.TransactionOf returns the same transaction for GORM.
	Tx() *sql.Tx
}

// Followers is what the Effects of ProcessAll can do besides.
type Followers interface {
	// Follow returns events that may take effect right behind events that have
	// their ordering keys' turns, in the same transaction: the next ones of each
	// key, of the same type and queue, at most most in all. owners have just been
	// confirmed. What is returned has to take effect, behind its owner and in this
	// order: it is confirmed when the transaction commits.
	Follow(ctx context.Context, owners []ID, eventType, queue string, most int) ([]Follower, error)
}

// Follower is an event that takes effect behind another one of its ordering key.
type Follower struct {
	Owner, ID ID
	Payload   []byte
	Headers   map[string]string
}
