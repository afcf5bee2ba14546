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

	// FollowOn is Process for the event that a HandOver kept back, in a transaction of
	// its own. It returns false and runs nothing if the event does not follow any more:
	// it then goes its usual way. next is as that of Runs.HandOver. After an error the
	// event is still kept back: see LetGo.
	//
	// Errors: CodeUnavailable if the database cannot be reached; those of effect.
	FollowOn(ctx context.Context, id ID, next *HandOver, effect func(ctx context.Context, tx Effects, event Follower) error) (first bool, err error)

	// LetGo lets the event of an ordering key that a HandOver kept back go its usual
	// way, if there is one. Errors: CodeUnavailable if the database cannot be reached;
	// then the leader does it, within a minute.
	LetGo(ctx context.Context, orderingKey string) error
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

// Runs is what the Effects of Process can do beside, for an event with an ordering key.
type Runs interface {
	// HandOver keeps the next event of the key back for the caller, instead of letting it
	// go through the outbox and the queue, if it is of the type and the queue that next
	// has. Call it last in an effect. What it found is in next after the commit.
	HandOver(next *HandOver)
}

// HandOver is what an event leaves to the next one of its ordering key.
type HandOver struct {
	Type, Queue string
	Key         string // the ordering key; "": no event of the key waits for its turn
	Next        ID     // the event that is kept back; zero: none
}
