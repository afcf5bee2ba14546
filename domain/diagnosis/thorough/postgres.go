package thorough

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// PostgresFacts are the facts that the slower checks read from PostgreSQL. A field that is nil, zero or empty was
// not read, or has nothing to report. Names and texts contain no control characters, except perhaps event types.
type PostgresFacts struct {
	Server      *PostgresServer
	Clock       *Clock
	Connections *Connections

	Tables   []TableVacuum
	Snapshot *Snapshot
	Prepared *PreparedTransaction
	Slots    []ReplicationSlot

	Leader  *Leader
	Failing []FailingWork
	Unknown *UnknownEvents
	Missing *MissingEvents
	// Late describes the schedules whose ticks are late; nil means that nobody looked for them.
	Late *LateSchedules
	Held *HeldKeys

	Partitions   *Partitions
	Ownership    *Ownership
	RowSecurity  *RowSecurity
	Unidentified string // published tables without a replica identity, with commas between
	// TriggersOff names triggers that are disabled or missing. TriggersAlways names triggers that also fire for
	// replicated rows (ENABLE ALWAYS). Commas separate the names.
	TriggersOff, TriggersAlways string
	ReplicaSessions             string // the roles, or the database, that set session_replication_role to replica
	Positions                   *Positions

	Pooler   bool // a pooler stands between outboxd and PostgreSQL
	Listen   *Listening
	Producer *Producer
	// Hidden lists what the database role may not see. Each entry completes the sentence "PostgreSQL does not tell
	// …".
	Hidden []string
}

// PostgresServer has the version and the settings of the server.
type PostgresServer struct {
	Number  int    // server_version_num
	Version string // for people
	Standby bool
	// Unsafe says that fsync or full_page_writes is off. CommitsLater says that synchronous_commit is off.
	Unsafe, CommitsLater bool
}

// Connections describes the connection limit (server, database or role) that leaves the fewest connections free.
type Connections struct {
	Limit      string // what sets the limit
	Size, Used int64
	// Ours is how many connections of this role and application name are open. Need is how many connections one
	// process with this configuration may open.
	Ours, Need int64
}

// Listening says whether a NOTIFY reaches a connection that was opened in the same way as the connection on which
// relays LISTEN.
type Listening struct{ Connected, Arrives bool }

// Findings returns the findings about these facts, worst first.
func (p PostgresFacts) Findings() []domain.Finding {
	return diagnosis.Once(slices.Concat(
		p.Server.judge(), p.Clock.judge("postgres-clock", diagnosis.PostgreSQL), p.Connections.judge(),
		judgeVacuum(p.Tables), p.Snapshot.judge(), p.Prepared.judge(), judgeSlots(p.Slots),
		p.Leader.judge(), judgeFailing(p.Failing), p.Unknown.judge(), p.Missing.judge(), p.Late.judge(), p.Held.judge(),
		p.Partitions.judge(), p.Ownership.judge(), p.RowSecurity.judge(), p.judgeTables(), p.Positions.judge(),
		p.judgeAccess(), p.Producer.judge(), judgeHidden(p.Hidden),
	))
}

func (s *PostgresServer) judge() (found []domain.Finding) {
	if s == nil {
		return nil
	}
	if s.Number < diagnosis.OldestPostgres {
		found = append(found, diagnosis.Of("postgres-version", fmt.Sprintf("PostgreSQL is version %s, older than %d", s.Version, diagnosis.OldestPostgres/10_000),
			"migrations fail, or statements do at run time", "upgrade PostgreSQL with pg_upgrade")...)
	}
	if s.Standby {
		found = append(found, diagnosis.Of("postgres-read-only", "PostgreSQL is a standby and takes no writes",
			"nothing is relayed, and no event can be written",
			"name the primary in --database-url, or all servers with target_session_attrs=read-write")...)
	}
	if s.Unsafe {
		found = append(found, diagnosis.Of("postgres-fsync-off", "PostgreSQL runs with fsync or full_page_writes off",
			"a crash of the machine may destroy the database, events included",
			"ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()")...)
	}
	if s.CommitsLater {
		found = append(found, diagnosis.Of("postgres-commits-later", "synchronous_commit is off",
			"a crash may lose the last commits, and the events that they wrote, although the producers were told that they are safe",
			"ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()")...)
	}
	return found
}

func (c *Connections) judge() []domain.Finding {
	if c == nil {
		return nil
	}
	free := max(c.Size-c.Used, 0)
	// A process that is already running has opened its connections, so they need not be free.
	short := free+min(c.Ours, c.Need) < c.Need
	if !short && free*100 >= c.Size*diagnosis.ConnectionsFree {
		return nil
	}
	return diagnosis.Of("postgres-connections", fmt.Sprintf("%s of the %s that %s allows are free, and one process of this configuration may open %s (%s of outboxd's are open)",
		words.Count(free), words.Many(c.Size, "connection"), c.Limit, words.Count(c.Need), words.Count(c.Ours)),
		"the next connection is refused (SQLSTATE 53300): producers fail, and relaying pauses as in an outage",
		"ALTER SYSTEM SET max_connections and restart, lower --database-max-conns, --relay-concurrency or --worker-concurrency, or put PgBouncer in between")
}

func (p PostgresFacts) judgeAccess() (found []domain.Finding) {
	if p.Pooler {
		found = diagnosis.Of("pooler", "a pooler such as PgBouncer stands between outboxd and PostgreSQL",
			"in transaction mode prepared statements, LISTEN and the leader's lock do not work through it",
			"--database-exec-mode=cache_describe, and --relay-listen-url with a URL that leads past it")
	}
	if p.Listen == nil || p.Listen.Arrives {
		return found
	}
	what := "notifications do not arrive where relays listen"
	if !p.Listen.Connected {
		what = "the connection at which relays listen cannot be made"
	}
	return append(found, diagnosis.Of("listen-in-vain", what,
		"relays poll: an event after a pause waits up to --relay-poll-without-listen (500 ms), and an idle relay asks the database more often",
		"give --relay-listen-url a URL that leads past PgBouncer to the same database, or say --relay-listen=off")...)
}

func judgeHidden(questions []string) []domain.Finding {
	if len(questions) == 0 {
		return nil
	}
	return diagnosis.Of("postgres-hidden", "PostgreSQL does not tell "+strings.Join(questions, "; "),
		"such problems cannot be seen from here",
		"run outboxd doctor as the owner of the tables with the role pg_monitor, and look for locks that keep statements waiting")
}

// atMost formats a number that was counted only up to diagnosis.Counted.
func atMost(n int64) string {
	if n > diagnosis.Counted {
		return "more than " + words.Count(diagnosis.Counted)
	}
	return words.Count(n)
}

// who names a session.
func who(pid int, application, state string) string {
	said := fmt.Sprintf("pid %d", pid)
	if application != "" {
		said += ", application " + application
	}
	if state != "" {
		said += ", " + state
	}
	return said
}

// whole formats a duration without fractions of a second.
func whole(d time.Duration) string { return words.Duration(d.Truncate(time.Second)) }
