package diagnosis

import "time"

// The bounds of all findings, each with its reason. Findings without a bound are
// a yes or no, or a count.
const (
	// RelayGone is when a relay without a sign of life counts as gone. It gives
	// one every 15 s.
	RelayGone = time.Minute
	// EventsLate is how long a due event may wait for a relay. A sweep, the
	// delay of a retry or a busy moment takes much less. The alert
	// OutboxdLagging has the same bound.
	EventsLate = time.Minute
	// LeaderAbsence is how long there may be no sample. A leader writes one every
	// ten seconds, and may fail at it for a while.
	LeaderAbsence = 3 * time.Minute
	// KeyHeld is how long an ordering key may keep events waiting. The alert
	// OutboxdHeldKeys has the same bound.
	KeyHeld = 15 * time.Minute
	// QueueUnserved is how long a task may wait while no worker serves its queue.
	// A worker that is restarted is away for less.
	QueueUnserved = 30 * time.Second
	// HealRecent is how long a heal is reported. The alert OutboxdRedisForgot looks
	// back as far.
	HealRecent = 15 * time.Minute
	// BacklogLarge is how many tasks must wait in Redis before their growth is
	// reported. A burst of so many is worked off soon.
	BacklogLarge = 1000

	// SnapshotOpen is how long a transaction may be open, prepared ones too.
	SnapshotOpen = 5 * time.Minute
	// OldTransactions is how many transactions old a snapshot may be, if this role
	// may not see when it was taken.
	OldTransactions = 1_000_000
	// SlotBytes is how much WAL a replication slot may keep.
	SlotBytes = 1 << 30
	// DeadRows is how many dead rows a table may have. Some are normal, since
	// every event passes through the table. There are too many if most rows that a
	// scan reads are dead and no vacuum ran for VacuumIdle.
	DeadRows   = 100_000
	VacuumIdle = 5 * time.Minute

	// ClockSkew is how far two clocks may differ: Asynq schedules tasks to the
	// second.
	ClockSkew = 2 * time.Second
	// OldestPostgres is the oldest server_version_num that the schema and the
	// statements are written for.
	OldestPostgres = 130000
	// RedisMajor is the first number of the oldest version of Redis that Asynq's
	// scripts and outboxd's own commands work with.
	RedisMajor = 6
	// RedisMinor is the second number of that version.
	RedisMinor = 2

	// RedisFull is the percentage of maxmemory from which Redis counts as nearly
	// full. RedisCrowded is that of the machine's memory: a rewrite of the
	// append-only file may need as much again for a while.
	RedisFull    = 80
	RedisCrowded = 60
	// ConnectionsFree is the share of connections, in percent, that should be free.
	ConnectionsFree = 10

	// Counted is how far a finding counts rows, so that a look stays cheap.
	Counted = 10_000
)
