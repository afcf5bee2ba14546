package diagnosis

import "time"

// The bounds of all findings, each with its reason. What is not here is either a
// yes or no, or counted.
const (
	// RelayGone is when a relay without a sign of life counts as gone. It gives
	// one every 15 s.
	RelayGone = time.Minute
	// EventsLate is how long a due event may wait for a relay: well above what a
	// sweep, a retry's delay or a busy moment explains. The alert OutboxdLagging
	// has the same bound.
	EventsLate = time.Minute
	// LeaderAbsence is how long there may be no sample. A leader keeps one every ten
	// seconds, and measuring may fail for a while without being a reason to worry.
	LeaderAbsence = 3 * time.Minute
	// KeyHeld is how long an ordering key may keep events waiting. The alert
	// OutboxdHeldKeys has the same bound.
	KeyHeld = 15 * time.Minute
	// QueueUnserved is how long a task may wait while no worker serves its queue.
	// A worker that is restarted is away for less.
	QueueUnserved = 30 * time.Second

	// SnapshotOpen is how long a transaction may be open, prepared ones too.
	SnapshotOpen = 5 * time.Minute
	// OldTransactions is how many transactions ago a snapshot may be of which this
	// role is not told when it was taken.
	OldTransactions = 1_000_000
	// SlotBytes is how much WAL a replication slot may keep.
	SlotBytes = 1 << 30
	// DeadRows is how many dead rows a table may have. They are normal where every
	// event passes through. It is too many when most of what a scan reads is dead,
	// and no vacuum came for VacuumIdle.
	DeadRows   = 100_000
	VacuumIdle = 5 * time.Minute

	// ClockSkew is what two clocks may differ by: Asynq schedules tasks to the
	// second.
	ClockSkew = 2 * time.Second
	// OldestPostgres is the oldest server_version_num that the schema and the
	// statements are written for.
	OldestPostgres = 130000
	// RedisMajor is the first number of the oldest Redis that has what Asynq's scripts
	// and the options of outboxd's own commands need.
	RedisMajor = 6
	// RedisMinor is the second number of that version.
	RedisMinor = 2

	// RedisFull is the share of maxmemory, in percent, from which Redis counts as
	// nearly full, and RedisCrowded that of the machine's memory, since a rewrite of
	// the append-only file may need as much again for a while.
	RedisFull    = 80
	RedisCrowded = 60
	// ConnectionsFree is the share of connections, in percent, that should be free.
	ConnectionsFree = 10

	// Counted bounds what is counted for a finding, as a limit on what a look costs.
	Counted = 10_000
)
