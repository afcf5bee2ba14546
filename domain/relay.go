package domain

import (
	"context"
	"time"
)

// RelayProcess is one running relay, as others see it.
type RelayProcess struct {
	ID      ID
	Host    string
	PID     int
	Version string
}

// Presence tells producers and other processes about a relay. Its methods are
// safe for concurrent use.
//
// Errors: CodeUnavailable if the database cannot be reached.
type Presence interface {
	// Show records a sign of life, and whether producers have to notify
	// because the relay sleeps. It is visible when Show returns.
	Show(ctx context.Context, process RelayProcess, asleep bool) error

	// Leave takes the record away.
	Leave(ctx context.Context, process RelayProcess) error

	// Listen calls notified for every wake-up that a producer sends, and once
	// when it begins to listen, since wake-ups may have been missed before. It
	// returns when ctx ends or the connection fails; notified must not block.
	Listen(ctx context.Context, notified func()) error
}

// Backlog is how much waits in the outbox.
type Backlog struct {
	Pending int64 // events, due or not
	// Estimated is set where counting would have taken too long.
	Estimated bool
	// OldestDue is when the oldest event that is due became so; zero if none is.
	OldestDue time.Time
	// Dead is the number of dead letters.
	Dead int64
	// Held is how many events wait for the turn of their ordering keys, and
	// HeldKeys how many keys that are, counted up to HeldKeysCounted.
	Held, HeldKeys int64
	// OldestHeld is since when the event waits that has waited longest among
	// those next in turn of the keys that were counted; zero if none waits.
	OldestHeld time.Time
}

// Upkeep is what may be wrong with the tables for hours before anybody feels it.
type Upkeep struct {
	// OverduePartitions is how many partitions of the history should have been
	// dropped by now.
	OverduePartitions int
	// Snapshot is the oldest open transaction that keeps vacuum from removing
	// dead rows; the zero value if there is none.
	Snapshot Snapshot
}

// Snapshot is an open transaction of the database.
type Snapshot struct {
	// PID is the server process that has it; 0 for a prepared transaction,
	// which has none.
	PID   int
	Begun time.Time
}

// StillLeads returns nil if this process still leads. A process that was
// suspended does not know that another one has taken over, so work asks before
// each of its steps. It costs a round trip only if the last one is long ago. It
// is safe for concurrent use.
//
// Errors: CodeUnavailable if it leads no longer, or the database cannot be asked.
type StillLeads func(ctx context.Context) error

// Housekeeping is what one relay process at a time does for all.
type Housekeeping interface {
	// Failing records for everybody that a part of the work fails, and why; nil
	// that it works again. Without a part nothing fails any more. What is no
	// error of the database's is not recorded: it is found out elsewhere.
	//
	// Errors: CodeUnavailable.
	Failing(ctx context.Context, work string, cause error) error

	// Lead waits until no other process leads, then runs work, with a context
	// that ends when the leadership is lost. It returns when work has
	// returned or ctx ends. A leader that says nothing for half a minute, because it
	// is suspended or cut off by the network, loses the leadership.
	//
	// Errors: those of work; CodeUnavailable if the database cannot be
	// reached.
	Lead(ctx context.Context, work func(ctx context.Context, leads StillLeads) error) error

	// KeepPartitions makes the partitions of outbox_sent for the days to come
	// and drops those whose every row was sent before history ago.
	KeepPartitions(ctx context.Context, history time.Duration) error

	// TrimInbox deletes up to limit inbox rows older than age, and as many
	// entries of the journal that are not a dead letter's, and returns how many
	// of that of which there were more.
	TrimInbox(ctx context.Context, age time.Duration, limit int) (int64, error)

	// TrimSuppressed does the same for suppressed events, of which the account
	// keeps the number.
	TrimSuppressed(ctx context.Context, age time.Duration, limit int) (int64, error)

	// SayUnconfirmed tells the database which types of events no consumer confirms:
	// such an event cannot be cancelled once it may have been handed over.
	SayUnconfirmed(ctx context.Context, types []string) error

	// CancelledTasks returns up to limit cancelled events with IDs after one, in
	// the order of their IDs, of which a task may still be in the queue. Only ID,
	// queue and generation are known.
	CancelledTasks(ctx context.Context, after ID, limit int) ([]Event, error)

	// TasksRemoved notes that the queue has no task of these cancelled events.
	TasksRemoved(ctx context.Context, events []ID) error

	// TrimCancelled does the same as TrimSuppressed for cancelled events of
	// which the queue has no task.
	TrimCancelled(ctx context.Context, age time.Duration, limit int) (int64, error)

	// AdvanceKeys checks up to limit ordering keys that hold events, beginning with
	// the first key greater than after. It lets a key's next event go if no event of
	// the key is on its way, or if the one that was is confirmed. It returns the last
	// key that it checked, "" at the end, and how many events it let go. gone are
	// events that have had a turn for a while and that the database no longer has,
	// because the history has ended or is not kept: only their ID and generation are
	// known, and only the queue knows whether they wait.
	AdvanceKeys(ctx context.Context, after string, limit int) (last string, advanced int64, gone []Event, err error)

	// PassTurns ends the turns of events, and lets go the next of their keys.
	PassTurns(ctx context.Context, events []Event) error

	// FoldAccount adds up what producers emitted since the last time, and
	// returns how many events that were.
	FoldAccount(ctx context.Context) (int64, error)

	// TrimRelays forgets relays that gave no sign of life for age.
	TrimRelays(ctx context.Context, age time.Duration) error

	// Measure measures what waits and what went through, keeps it for a day, and
	// returns what waits. process is who measures.
	Measure(ctx context.Context, process RelayProcess) (Backlog, error)

	// Upkeep looks at the tables' state. history is as with KeepPartitions. Of
	// other users' transactions it sees only those that its database role may.
	Upkeep(ctx context.Context, history time.Duration) (Upkeep, error)
}
