package diagnosis

import "time"

// Thresholds of findings. Those of schedules-late (setup.MissedAfter) and leader-silent (thorough.Leader.Limit) are
// elsewhere.
const (
	// RelayGone is how long after its last sign of life a relay counts as gone. A relay gives a sign of life every
	// 15 s.
	RelayGone = time.Minute
	// EventsLate is how long a due event may wait for a relay. The usual delays are much shorter: a sweep, a retry,
	// a short peak. The alert OutboxdLagging has the same threshold.
	EventsLate = time.Minute
	// LeaderAbsence is how long the table outbox_samples may get no new row. A leader writes a row every ten
	// seconds, and may fail to do so for a while.
	LeaderAbsence = 3 * time.Minute
	// KeyHeld is how long an ordering key may hold events back. The alert OutboxdHeldKeys has the same threshold.
	KeyHeld = 15 * time.Minute
	// QueueUnserved is how long a pending task may wait while no worker serves its queue. Restarting a worker usually
	// takes less. If all tasks of such a queue are scheduled or wait for a retry, the queue is reported at once.
	QueueUnserved = 30 * time.Second
	// HealRecent is how long a heal (unconfirmed events sent again after a possible loss) is
	// reported. The alert OutboxdRedisForgot looks back for the same time.
	HealRecent = 15 * time.Minute
	// BacklogLarge is how many tasks must wait in Redis before a growing backlog is reported. Workers usually process
	// a smaller burst quickly.
	BacklogLarge = 1000

	// SnapshotOpen is how long a transaction, including a prepared transaction, may be open.
	SnapshotOpen = 5 * time.Minute
	// OldTransactions is how many transactions may begin while a snapshot is in use.
	// OldTransactions applies to replication slots, and to other snapshots if outboxd's
	// database role may not see when they were taken.
	OldTransactions = 1_000_000
	// SlotBytes is how much WAL a replication slot may keep.
	SlotBytes = 1 << 30
	// DeadRows is how many dead rows a table may have. Some dead rows are normal, because every event is inserted and
	// deleted. A finding is reported if dead rows exceed DeadRows and also half of the live rows, and no vacuum ran
	// for VacuumIdle.
	DeadRows   = 100_000
	VacuumIdle = 5 * time.Minute

	// ClockSkew is how far the clocks of two servers may differ. Asynq schedules tasks to the second.
	ClockSkew = 2 * time.Second
	// OldestPostgres is the oldest server_version_num that the schema and the
	// statements are written for.
	OldestPostgres = 130000
	// RedisMajor is the first number of the oldest supported version of Redis. Asynq's scripts and outboxd's own
	// commands need that version.
	RedisMajor = 6
	// RedisMinor is the second number of the oldest supported version of Redis.
	RedisMinor = 2

	// RedisFull is the percentage of maxmemory from which Redis counts as nearly full. RedisCrowded is the same
	// threshold for the machine's memory. RedisCrowded is lower than RedisFull, because rewriting the append-only
	// file may temporarily double the memory that Redis uses.
	RedisFull    = 80
	RedisCrowded = 60
	// ConnectionsFree is the share of connections, in percent, that should be free.
	ConnectionsFree = 10

	// Counted bounds the rows that a slower check counts, so that its query stays cheap. Not every check uses it.
	Counted = 10_000
)
