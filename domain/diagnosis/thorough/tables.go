package thorough

import (
	"fmt"
	"strings"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// Partitions describes the daily partitions of outbox_sent. The leader makes them seven days in advance.
type Partitions struct {
	Ahead int   // days that have a partition, from today to the first gap
	Stray int64 // rows of the default partition, counted up to one more than diagnosis.Counted
}

// Ownership says whether outboxd's database role may make partitions. Names are quoted where necessary.
type Ownership struct {
	Schema, Role string
	Owns         bool // the role owns the history
	Creates      bool // the role may create tables in the schema
}

// RowSecurity names outboxd's tables with row-level security, and outboxd's roles to which it applies.
type RowSecurity struct {
	Tables string // with commas between
	Roles  []string
}

// Positions compares the sequence that assigns positions with the positions of events.
// Next is the last value of the sequence, Highest the highest position among the newest
// events.
type Positions struct{ Next, Highest int64 }

// Producer is a database role that should be able to write events.
type Producer struct {
	Name                   string // as given by --producer-role
	Exists                 bool
	Schema, Role           string // quoted where necessary
	Usage, Insert, Execute bool
}

func (p *Partitions) judge() (found []domain.Finding) {
	if p == nil {
		return nil
	}
	// If only today's partition is left, the leader has made none for at least six days.
	switch p.Ahead {
	case 0:
		found = append(found, diagnosis.Of("partition-missing", "outbox_sent has no partition for today",
			"delivered events go into the default partition, whose rows are deleted one by one instead of being dropped with their day",
			"start a relay whose role owns outbox_sent and may CREATE in its schema; the leader makes partitions at once and then every ten minutes")...)
	case 1:
		found = append(found, diagnosis.Of("partitions-behind", "outbox_sent has no partition for tomorrow, and they are made a week ahead",
			"no relay has done the housekeeping for days, or it may not make partitions: from tomorrow on the default partition fills",
			"look for \"could not do all of the housekeeping\" in the relays' logs, and let a relay's role own outbox_sent")...)
	}
	if p.Stray > 0 {
		found = append(found, diagnosis.Of("partition-default", atMost(p.Stray)+words.Plural(p.Stray, " row", " rows")+" of the history "+words.Plural(p.Stray, "is", "are")+" in the default partition",
			"they are deleted one by one when they are old enough, and a day of which more than "+words.Count(diagnosis.Counted)+" rows are there gets no partition any more",
			"nothing, if partitions exist again: the leader trims the default partition")...)
	}
	return found
}

func (o *Ownership) judge() []domain.Finding {
	if o == nil || o.Owns && o.Creates {
		return nil
	}
	return diagnosis.Of("relay-rights", fmt.Sprintf("the role %s does not own outbox_sent, or may not CREATE in the schema %s", o.Role, o.Schema),
		"a relay that connects as this role cannot make the history's partitions; for the other roles this is right",
		fmt.Sprintf("ALTER TABLE %s.outbox_sent OWNER TO %s, with its partitions; GRANT CREATE ON SCHEMA %[1]s TO %[2]s", o.Schema, o.Role))
}

func (r *RowSecurity) judge() []domain.Finding {
	if r == nil || len(r.Roles) == 0 {
		return nil
	}
	cures := make([]string, len(r.Roles))
	for i, role := range r.Roles {
		cures[i] = "ALTER ROLE " + role + " BYPASSRLS"
	}
	return diagnosis.Of("row-security", "row-level security of "+r.Tables+" applies to "+strings.Join(r.Roles, ", "),
		"what these roles do with the tables fails, because outboxd wants an error and not a part of the rows: relaying pauses as in an outage",
		strings.Join(cures, "; ")+"; or ALTER TABLE … DISABLE ROW LEVEL SECURITY, and for an owner NO FORCE ROW LEVEL SECURITY")
}

// judgeTables reports defects of the tables that a restore, an upgrade or a person may leave behind; see
// docs/guides/backup.md.
func (p PostgresFacts) judgeTables() (found []domain.Finding) {
	if p.Unidentified != "" {
		found = append(found, diagnosis.Of("replica-identity", "a publication has the tables "+p.Unidentified+", which have no replica identity",
			"PostgreSQL refuses to delete or update their rows: relaying, healing or housekeeping stops",
			"ALTER TABLE … REPLICA IDENTITY DEFAULT, or FULL for a table without a primary key; or take it out of the publication")...)
	}
	if p.TriggersOff != "" {
		found = append(found, diagnosis.Of("triggers-off", "triggers are off or missing: "+p.TriggersOff,
			"events wake no relay and are not in the account, those with an ordering key are refused, and confirmations pass no turn on",
			"ALTER TABLE outbox ENABLE TRIGGER USER; ALTER TABLE inbox ENABLE TRIGGER USER; then deploy/postgres/restored.sql")...)
	}
	if p.TriggersAlways != "" {
		found = append(found, diagnosis.Of("triggers-always", "triggers fire for replicated rows, too: "+p.TriggersAlways,
			"where this database subscribes to another one's outbox, each event is in the account twice and turns are passed on twice",
			"ALTER TABLE outbox ENABLE TRIGGER USER; ALTER TABLE inbox ENABLE TRIGGER USER")...)
	}
	if p.ReplicaSessions != "" {
		found = append(found, diagnosis.Of("triggers-bypassed", "session_replication_role is replica for "+p.ReplicaSessions,
			"no trigger fires in these sessions: their events wake no relay and are not in the account, those with an ordering key are refused, and their confirmations pass no turn on",
			"ALTER ROLE … RESET session_replication_role; a replication tool needs it, a producer or consumer must not have it")...)
	}
	return found
}

func (p *Positions) judge() []domain.Finding {
	if p == nil || p.Next >= p.Highest {
		return nil
	}
	return diagnosis.Of("positions-behind", fmt.Sprintf("the sequence outbox_ordering_position is at %s, and there is an event with position %s", words.Count(p.Next), words.Count(p.Highest)),
		"a new event goes before older ones of its ordering key",
		"stop the producers and run deploy/postgres/restored.sql; logical replication, for one, does not carry sequences")
}

func (p *Producer) judge() []domain.Finding {
	if p == nil {
		return nil
	}
	if !p.Exists {
		return diagnosis.Of("producer-unknown", "there is no role "+p.Name, "the producer cannot connect",
			"CREATE ROLE … LOGIN, or give the right name with --producer-role")
	}
	var lacks, grants []string
	for _, right := range []struct {
		has         bool
		name, grant string
	}{
		{p.Usage, "USAGE on the schema " + p.Schema, "GRANT USAGE ON SCHEMA " + p.Schema + " TO " + p.Role},
		{p.Insert, "INSERT on outbox", "GRANT INSERT ON " + p.Schema + ".outbox TO " + p.Role},
		{p.Execute, "EXECUTE on emit, lock_key, outbox_new_id, outbox_within_bounds and outbox_is_blank", fmt.Sprintf(
			"GRANT EXECUTE ON FUNCTION %s.emit, %[1]s.lock_key, %[1]s.outbox_new_id, %[1]s.outbox_within_bounds, %[1]s.outbox_is_blank TO %s", p.Schema, p.Role)},
	} {
		if !right.has {
			lacks, grants = append(lacks, right.name), append(grants, right.grant)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return diagnosis.Of("producer-rights", "the role "+p.Role+" lacks "+strings.Join(lacks, ", "),
		"its transactions fail where they write an event", strings.Join(grants, "; "))
}
