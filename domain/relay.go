package domain

import (
	"context"
	"time"
)

// RelayProcess identifies one running relay.
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

	// Leave removes the record.
	Leave(ctx context.Context, process RelayProcess) error

	// Listen calls notified for every notification, and once with each Notice when it
	// begins to listen, since notifications may have been missed before. It returns
	// when ctx ends or the connection fails; notified must not block.
	Listen(ctx context.Context, notified func(Notice)) error
}

// Notice is what a notification of the database is about.
type Notice int

// What notifications are about.
const (
	NoticeEvents        Notice = iota // a producer has emitted events
	NoticeSubscriptions               // a person has changed a subscription
)

// Backlog is how many events wait in the outbox.
type Backlog struct {
	Pending int64 // events, due or not
	// Estimated says that Pending is an estimate, because counting would have
	// taken too long.
	Estimated bool
	// OldestDue is when the oldest due event became due; zero if none is due.
	OldestDue time.Time
	// Dead is the number of dead letters.
	Dead int64
	// Held is how many events wait for their key's turn, and HeldKeys is how
	// many keys they have, counted up to HeldKeysCounted.
	Held, HeldKeys int64
	// OldestHeld is when the oldest of the events that get the turn next began
	// to wait, among the counted keys; zero if none waits.
	OldestHeld time.Time
}

// Chores says which of the leader's rare duties has something to do. One statement
// asks for all of them, so that an idle leader does not ask for each.
type Chores struct {
	Tick    bool // a schedule ticks within ChoresAhead, or is late
	Remove  bool // an event that was taken back may still have a task in the queue
	Replays bool // a replay to a subscription has not ended
}

// ChoresAhead is how early Chores reports the tick of a schedule.
const ChoresAhead = 30 * time.Second

// Upkeep reports faults of the tables that have no visible effect for hours.
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
	// PID is the server process of the transaction; 0 for a prepared
	// transaction, which has none.
	PID   int
	Begun time.Time
}

// StillLeads returns nil if this process still leads. A process that was
// suspended does not know that another one has taken over. So work calls it
// before each of its steps. It costs a round trip only if the last one was long
// ago. It is safe for concurrent use.
//
// Errors: CodeUnavailable if it does not lead any more, or the database cannot be
// reached.
type StillLeads func(ctx context.Context) error

// Housekeeping is the work that one relay process, the leader, does for all.
type Housekeeping interface {
	// Failing records for all processes that a duty of the leader fails, and
	// why. A nil cause records that it works again; an empty work, that all
	// duties do. It ignores a cause that is no error of the database: other
	// findings report those.
	//
	// Errors: CodeUnavailable.
	Failing(ctx context.Context, work string, cause error) error

	// Lead waits until no other process leads, then runs work, with a context that
	// ends when the leadership is lost. It returns when work has returned or ctx
	// ends. A leader that is silent for half a minute, because it is suspended or
	// the network cuts it off, loses the leadership.
	//
	// Errors: those of work; CodeUnavailable if the database cannot be
	// reached.
	Lead(ctx context.Context, work func(ctx context.Context, leads StillLeads) error) error

	// KeepPartitions makes the partitions of outbox_sent for the coming days,
	// and drops those whose rows are all older than history.
	KeepPartitions(ctx context.Context, history time.Duration) error

	// TrimInbox deletes up to limit inbox rows older than age, and up to limit
	// entries of the journal that belong to no dead letter. It returns the
	// larger of the two counts.
	TrimInbox(ctx context.Context, age time.Duration, limit int) (int64, error)

	// TrimSuppressed deletes up to limit suppressed events older than age, and
	// returns how many. The account keeps their number.
	TrimSuppressed(ctx context.Context, age time.Duration, limit int) (int64, error)

	// SayUnconfirmed stores the types of events that no consumer confirms. Such an
	// event cannot be cancelled once it may have been handed over.
	// outward are the types whose handlers act outside the database without a
	// transaction: such an event cannot be rescheduled then.
	SayUnconfirmed(ctx context.Context, types, outward []string) error

	// CancelledTasks returns up to limit cancelled events whose task may still be
	// in the queue, with IDs after the given one and in the order of their IDs.
	// Only their ID, queue and generation are filled in.
	CancelledTasks(ctx context.Context, after ID, limit int) ([]Event, error)

	// TasksRemoved notes that the queue has no task of these cancelled events.
	TasksRemoved(ctx context.Context, events []Event) error

	// VoidTasks does the same as CancelledTasks for void tasks: their events were
	// rescheduled, erased or discarded. The tasks of the returned generation and of
	// earlier ones are void; -1 means that there is nothing to delete for now.
	VoidTasks(ctx context.Context, after ID, limit int) ([]Event, error)

	// VoidTasksRemoved notes that the queue has neither these tasks nor tasks of
	// an earlier generation.
	VoidTasksRemoved(ctx context.Context, events []Event) error

	// TrimVoidTasks deletes up to limit void tasks that the queue no longer has. It
	// keeps those whose event may not take effect yet. It ignores age.
	TrimVoidTasks(ctx context.Context, age time.Duration, limit int) (int64, error)

	// TrimCancelled does the same for cancelled events that have no task in the
	// queue.
	TrimCancelled(ctx context.Context, age time.Duration, limit int) (int64, error)

	// AdvanceKeys checks up to limit ordering keys that hold events, beginning with
	// the first key greater than after. It releases a key's next event if no event of
	// the key is on its way, or if that one is confirmed. It returns the last key
	// that it checked, "" at the end, and how many events it released. gone are
	// events that have had the turn for a while and are in no table any more, because
	// the history has ended or is not kept. Only their ID and generation are filled
	// in, and only the queue knows whether they still wait.
	AdvanceKeys(ctx context.Context, after string, limit int) (last string, advanced int64, gone []Event, err error)

	// PassTurns ends the turns of events, and releases the next event of each
	// of their keys.
	PassTurns(ctx context.Context, events []Event) error

	// FoldAccount adds the events that producers emitted since the last call to
	// the account, and returns how many they were.
	FoldAccount(ctx context.Context) (int64, error)

	// TrimRelays forgets relays that gave no sign of life for age.
	TrimRelays(ctx context.Context, age time.Duration) error

	// Measure counts the events that wait and that passed, keeps the counts for
	// a day, and returns the backlog and the chores. process is the relay that
	// measures; queued is how many tasks wait in the queue, nil if that is not known.
	Measure(ctx context.Context, process RelayProcess, queued *int64) (Backlog, Chores, error)

	// Upkeep looks at the tables' state. history is as with KeepPartitions. It
	// sees only the transactions that its database role may see.
	Upkeep(ctx context.Context, history time.Duration) (Upkeep, error)
}
