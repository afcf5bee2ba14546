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

// Presence stores in the database that a relay runs, and receives notifications (LISTEN) for it. Its methods are
// safe for concurrent use.
//
// Errors: CodeUnavailable if the database cannot be reached.
type Presence interface {
	// Show records a sign of life of the relay. The parameter asleep says that the relay sleeps, so that producers have
	// to notify it. The record is committed when Show returns.
	Show(ctx context.Context, process RelayProcess, asleep bool) error

	// Leave removes the relay's record.
	Leave(ctx context.Context, process RelayProcess) error

	// Listen calls the function notified for every notification. When Listen begins to listen, it calls the function
	// once with each Notice, because earlier notifications may have been missed. Listen returns when ctx ends or the
	// connection fails. The function must not block.
	Listen(ctx context.Context, notified func(Notice)) error
}

// Notice is the subject of a notification from the database.
type Notice int

// The subjects of notifications.
const (
	NoticeEvents        Notice = iota // there are new events in the outbox
	NoticeSubscriptions               // a person has changed a subscription
)

// Backlog says how many events wait in the database, and for how long.
type Backlog struct {
	Pending int64 // events, due or not
	// Estimated says that Pending is an estimate, because counting would have
	// taken too long.
	Estimated bool
	// OldestDue is when the oldest due event became due. It is zero if no event is due.
	OldestDue time.Time
	// Dead is the number of dead letters, counted up to overview.StandingCounted.
	Dead int64
	// Held is how many events wait for the turn of their ordering key. From overview.StandingCounted on, Held is an
	// estimate. HeldKeys is how many keys have held events, counted up to lives.HeldKeysCounted.
	Held, HeldKeys int64
	// Of each counted key, one event gets the turn next. OldestHeld is when the oldest of these events began to
	// wait. It is zero if no event is held.
	OldestHeld time.Time
}

// Chores says which of the leader's rare duties have work to do. One statement checks all of them, so that an idle
// leader does not need one statement for each.
type Chores struct {
	Tick    bool // a schedule ticks within ChoresAhead, or is late
	Remove  bool // an event that was taken back may still have a task in the queue
	Replays bool // a replay to a subscription has not ended
	Changes bool // a producer asked for a change of an event, which only the leader can make
}

// ChoresAhead is how long before the tick of a schedule Chores.Tick becomes true.
const ChoresAhead = 30 * time.Second

// Upkeep reports problems of the tables that have no visible effect for hours.
type Upkeep struct {
	// OverduePartitions is how many partitions of outbox_sent should already have been dropped.
	OverduePartitions int
	// Snapshot is the oldest open transaction that prevents vacuum from removing dead rows. Snapshot is the zero
	// value if there is no such transaction.
	Snapshot Snapshot
}

// Snapshot is an open transaction of the database.
type Snapshot struct {
	// PID is the server process of the transaction; 0 for a prepared
	// transaction, which has none.
	PID   int
	Begun time.Time
}

// StillLeads returns nil if this process is still the leader. After a suspension a process does not know whether
// another process has become the leader. So each duty calls StillLeads before each of its steps. A call costs a
// round trip to PostgreSQL only if the last round trip was long ago. It is safe for concurrent use.
//
// Errors: CodeUnavailable if this process is no longer the leader, or the database cannot be reached.
type StillLeads func(ctx context.Context) error

// Housekeeping has the single steps of the work that one relay process, the leader, does for all processes.
type Housekeeping interface {
	// Failing records in the database that a duty of the leader fails, and why, so that all processes can report it. A
	// nil cause records that the duty works again; with "" as the duty it records that for all duties. Failing ignores
	// a lock timeout, because the duty tries again soon. Failing also ignores a cause that is no PostgreSQL error,
	// because other findings report such causes.
	//
	// Errors: CodeUnavailable.
	Failing(ctx context.Context, work string, cause error) error

	// Lead waits until no other process is the leader, then calls the function work. The context of this function ends
	// when the leadership is lost. Lead returns when the function has returned, or when ctx ends before the function
	// was called. A leader that is silent for half a minute, because it is suspended or cut off by the network, loses
	// the leadership.
	//
	// Errors: the errors of the function work; CodeUnavailable if the database cannot be reached.
	Lead(ctx context.Context, work func(ctx context.Context, leads StillLeads) error) error

	// KeepPartitions creates the partitions of outbox_sent for the coming days. KeepPartitions drops partitions in
	// which every row is older than the given time.
	KeepPartitions(ctx context.Context, history time.Duration) error

	// TrimInbox deletes up to limit inbox rows that are older than the given age. It keeps the rows of events that are
	// still in a table, and those of the days that the history still has. TrimInbox also deletes up to limit journal
	// entries that are older than the given age. It keeps the entries of dead letters, and the entry that says that a
	// kept event was erased. It returns the larger of the two counts.
	TrimInbox(ctx context.Context, age time.Duration, limit int) (int64, error)

	// TrimSuppressed deletes up to limit suppressed events that are older than the given age, and returns how many. The
	// account keeps their number.
	TrimSuppressed(ctx context.Context, age time.Duration, limit int) (int64, error)

	// SayUnconfirmed stores two lists of event types. The list types has the types that no consumer confirms: their
	// events cannot be cancelled once they may have been handed to Redis. The list outward has the types whose
	// handlers act outside the database without a transaction: their events cannot be rescheduled once they may
	// have been handed to Redis.
	SayUnconfirmed(ctx context.Context, types, outward []string) error

	// CancelledTasks returns up to limit cancelled events whose task may still be in Redis. It returns only IDs that
	// follow the given one, in ascending order, and sets only ID, Queue and Generation.
	CancelledTasks(ctx context.Context, after ID, limit int) ([]Event, error)

	// TasksRemoved records that Redis has no task of these cancelled events.
	TasksRemoved(ctx context.Context, events []Event) error

	// VoidTasks does the same as CancelledTasks for void tasks, which must have no effect because their events were
	// rescheduled, erased or discarded. The tasks of the returned generation and of earlier generations are void.
	// Generation -1 means that there is nothing to delete yet.
	VoidTasks(ctx context.Context, after ID, limit int) ([]Event, error)

	// VoidTasksRemoved records that Redis has neither these tasks nor tasks of an earlier generation.
	VoidTasksRemoved(ctx context.Context, events []Event) error

	// TrimVoidTasks deletes up to limit records of void tasks that Redis no longer has. TrimVoidTasks keeps the record
	// of an event that may not take effect yet. It ignores its parameter age.
	TrimVoidTasks(ctx context.Context, age time.Duration, limit int) (int64, error)

	// TrimCancelled deletes up to limit cancelled events that are older than the given age and have no task in Redis.
	TrimCancelled(ctx context.Context, age time.Duration, limit int) (int64, error)

	// AdvanceKeys checks up to limit ordering keys with held events, beginning with the first key that follows the
	// given one. AdvanceKeys releases the next event of a key if no event has the key's turn, or if the event with the
	// turn is confirmed or itself held. AdvanceKeys also ends the turn of a published event that no consumer confirms,
	// and of a dead letter unless deadHold is true. AdvanceKeys returns the last key that it checked ("" at the end),
	// and how many turns it ended and events it released, added up. The result gone has events that have had the turn
	// for a minute and are in no table any more, because their history was dropped or is not kept. Only Redis can tell
	// whether their tasks still wait. Only ID and Generation of these events are set.
	AdvanceKeys(ctx context.Context, after string, limit int, deadHold bool) (last string, advanced int64, gone []Event, err error)

	// ConfirmDelivered checks up to limit deliveries, beginning with the first one that follows the given one. It
	// checks only deliveries of events that have no task of their own and wait for their deliveries. It confirms the
	// events whose deliveries have all ended, and returns the last delivery that it checked (the zero ID at the end;
	// the given one after an error).
	ConfirmDelivered(ctx context.Context, after ID, limit int) (last ID, err error)

	// PassTurns ends the turns of events, and releases the next event of each
	// of their keys.
	PassTurns(ctx context.Context, events []Event) error

	// FoldAccount adds the rows of outbox_entries to outbox_account, deletes them, and returns how many there were.
	// Most of these rows stand for one event that a producer emitted.
	FoldAccount(ctx context.Context) (int64, error)

	// TrimRelays deletes the records of relays that have given no sign of life for the given time.
	TrimRelays(ctx context.Context, age time.Duration) error

	// ThinSamples merges measurements older than 25 hours into one for each five minutes. The counts are added. Of
	// the backlog the maximum is kept.
	ThinSamples(ctx context.Context) error

	// Measure counts the waiting events, and the events that were emitted, enqueued and confirmed. Measure stores the
	// counts for a week, and returns the backlog and the chores. The parameter process is the relay that measures. The
	// parameter queued is how many tasks wait in Redis; nil means that it is not known.
	Measure(ctx context.Context, process RelayProcess, queued *int64) (Backlog, Chores, error)

	// MeasureTypes counts by type, queue and minute what happened to events since the last call. If that call was
	// more than an hour ago, it counts one minute only. The counted time begins and ends overview.ConfirmedLate
	// earlier than the calls. MeasureTypes keeps the counts for 25 hours. Large counts are estimates from a sample.
	// The parameter queued has, by queue, how many tasks wait in Redis. It is empty if that is not known.
	MeasureTypes(ctx context.Context, queued map[string]int64) error

	// Upkeep checks the state of the tables. The parameter history has the same meaning as in KeepPartitions. Upkeep
	// sees only the transactions that its database role may see.
	Upkeep(ctx context.Context, history time.Duration) (Upkeep, error)
}
