package domain

import (
	"context"
	"database/sql"
)

// Errors for tasks that may not take effect now, for example because the database went back to an earlier state (a
// failover or a restored backup).
var (
	// ErrTooEarly means that another event of the ordering key has the turn, or that the event was moved to a later
	// time. The task goes back to its queue, and no attempt is charged.
	ErrTooEarly = Errorf(CodeConflict, "the event's ordering key has another event's turn")
	// ErrUnknownEvent means that the event does not exist, because the database lost the transaction that wrote it.
	// The journal has an entry for the event.
	ErrUnknownEvent = Errorf(CodeNotFound, "there is no such event any more")
)

// Inbox keeps an event from taking effect in the database a second time. An effect outside the database, before which
// Ask was called, may happen again after a crash.
type Inbox interface {
	// Process calls the function effect in a transaction, records the event as processed in the same transaction, and
	// commits. If the event was processed before or cancelled, Process runs nothing and returns false. If two calls
	// for one event run at once, the second waits for the first. If the function returns an error, Process rolls the
	// transaction back and returns that error, or an error that wraps it. If the error is that the connection's query
	// plans are outdated, Process calls the function again instead.
	//
	// Errors: CodeUnavailable if the database cannot be reached; ErrUnknownEvent, before the function was called;
	// ErrTooEarly, also after the function has returned, if the event was moved to a later time meanwhile.
	Process(ctx context.Context, id ID, effect func(ctx context.Context, tx Effects) error) (first bool, err error)

	// Ask is called before an effect outside the database, and reports whether the event may take effect now. No
	// transaction should be open during such an effect, so Ask keeps no lock after it returns. If a Process of the
	// same event is running, Ask waits for it. The errors of Ask are those of Process.
	Ask(ctx context.Context, id ID) (first bool, err error)

	// ProcessAll is Process for several different events in one transaction. The function effect gets the events that
	// take effect now, in the order of ids. If there are none, the function is not called. The list has one
	// Confirmation for each event, in the order of ids. An error rolls everything back. The error does not say which
	// event failed.
	//
	// Errors: CodeUnavailable if the database cannot be reached; the errors of the function effect; ErrTooEarly after
	// the function has returned.
	ProcessAll(ctx context.Context, ids []ID, effect func(ctx context.Context, tx Effects, first []ID) error) (list []Confirmation, err error)

	// AskAll is Ask for several different events. Its errors are those of ProcessAll.
	AskAll(ctx context.Context, ids []ID) ([]Confirmation, error)
}

// Confirmation is the result for one event of ProcessAll or AskAll.
type Confirmation struct {
	First bool  // the event takes effect now; false: it took effect before or was cancelled, unless Err is set
	Err   error // ErrTooEarly, ErrUnknownEvent or nil
}

// Effects is the transaction of a handler. The handler's changes are committed together with the record that the event
// was processed.
type Effects interface {
	// Tx returns the transaction. A handler makes its changes through this transaction. The handler must neither
	// commit nor roll back the transaction, and must not use it after the handler has returned.
	// confirm.TransactionOf returns the same transaction for GORM.
	Tx() *sql.Tx
}

// Followers is an additional interface of the Effects that ProcessAll passes to effect.
type Followers interface {
	// Follow is called at most once within ProcessAll, and returns held events that may take effect in the same
	// transaction. The parameter owners lists events that this transaction confirms and that have their ordering keys'
	// turns. For each owner, Follow returns the next events of its ordering key with this type and queue. The
	// parameter most is the largest number of events in all. The caller must let each returned event take effect,
	// after its owner and in the order returned: the commit confirms them.
	Follow(ctx context.Context, owners []ID, eventType, queue string, most int) ([]Follower, error)
}

// Follower is an event that takes effect right after Owner, an earlier event of the same ordering key.
type Follower struct {
	Owner, ID ID
	Payload   []byte
	Headers   map[string]string
}
