package thorough

import (
	"fmt"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// TableVacuum is the state of autovacuum for a table from which rows are deleted about as often as rows are inserted.
type TableVacuum struct {
	Table      string
	Off        bool
	Dead, Live int64
	Last       time.Duration // since the last vacuum; negative: there was none
}

// Snapshot describes the oldest transaction that holds back vacuum.
type Snapshot struct {
	PID                int
	Application, State string
	Open               time.Duration // negative: this role may not see it
	Transactions       int64         // that began since
	More               int           // other transactions like it
}

// PreparedTransaction describes the oldest of the prepared transactions that have been open for too long, and counts
// these transactions.
type PreparedTransaction struct {
	Count      int
	GID, Owner string // GID in quotation marks
	Open       time.Duration
}

// ReplicationSlot is a replication slot that may hold back vacuum or keep WAL.
type ReplicationSlot struct {
	Name, Status string
	Active       bool
	Transactions int64 // the age of its snapshot
	Bytes, Limit int64 // WAL that it keeps, and WAL that it may keep
}

func judgeVacuum(tables []TableVacuum) (found []domain.Finding) {
	var off, behind []string
	for _, t := range tables {
		if t.Off {
			off = append(off, t.Table)
		}
		if t.Dead > max(diagnosis.DeadRows, t.Live/2) && (t.Last < 0 || t.Last > diagnosis.VacuumIdle) {
			when := "never vacuumed"
			if t.Last >= 0 {
				when = "vacuumed " + whole(t.Last) + " ago"
			}
			behind = append(behind, fmt.Sprintf("%s has %s beside %s live ones and was %s", t.Table, words.Many(t.Dead, "dead row"), words.Count(t.Live), when))
		}
	}
	if len(off) > 0 {
		found = append(found, diagnosis.Of("autovacuum-off", "autovacuum is off for "+strings.Join(off, ", "),
			"dead rows pile up with every event: tables and indexes grow, and every scan from their beginning gets slower",
			"ALTER TABLE "+off[0]+" RESET (autovacuum_enabled) for each of them; ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()")...)
	}
	if len(behind) > 0 {
		found = append(found, diagnosis.Of("vacuum-behind", strings.Join(behind, "; "),
			"claims that start at the beginning read all of the dead rows: late events are found later, and the disk fills",
			"look for old-snapshot, prepared-transaction and replication-slot in this list first, then VACUUM (VERBOSE) outbox")...)
	}
	return found
}

func (s *Snapshot) judge() []domain.Finding {
	if s == nil {
		return nil
	}
	found := fmt.Sprintf("a snapshot of %s ago is in use (%s)", words.Many(s.Transactions, "transaction"), who(s.PID, s.Application, s.State))
	if s.Open >= 0 {
		found = fmt.Sprintf("a transaction has been open for %s (%s)", whole(s.Open), who(s.PID, s.Application, s.State))
	}
	if s.More > 0 {
		found += fmt.Sprintf(", and %s more like it", words.Count(s.More))
	}
	return diagnosis.Of("old-snapshot", found,
		"vacuum removes no row that was deleted since: outbox and its indexes grow with every event, whatever the relay does",
		fmt.Sprintf("end it where it runs, or SELECT pg_terminate_backend(%d); and set idle_in_transaction_session_timeout for its role", s.PID))
}

func (p *PreparedTransaction) judge() []domain.Finding {
	if p == nil {
		return nil
	}
	return diagnosis.Of("prepared-transaction", fmt.Sprintf("%s for %s end, the oldest, %s of %s, for %s",
		words.Many(p.Count, "prepared transaction")+words.Plural(p.Count, " waits", " wait"), words.Plural(p.Count, "its", "their"), p.GID, p.Owner, whole(p.Open)),
		"they hold their locks and hold back vacuum until they are ended; a restart does not end them",
		"ask the transaction manager, then COMMIT PREPARED or ROLLBACK PREPARED "+p.GID)
}

func (s ReplicationSlot) isBad() bool {
	return s.Bytes >= s.Limit || s.Transactions >= diagnosis.OldTransactions || s.Status == "unreserved" || s.Status == "lost"
}

// judgeSlots returns a warning for slots that keep much WAL, hold back vacuum or are lost, and a note for other
// unused slots. slots must be ordered by the WAL that they keep, the most first.
func judgeSlots(slots []ReplicationSlot) []domain.Finding {
	var trouble []string
	var worst string
	level := domain.FindingNote
	for _, s := range slots {
		if s.Active && !s.isBad() {
			continue
		}
		if worst == "" || s.isBad() && level == domain.FindingNote {
			worst = s.Name // needs no quotes: names have lower case letters, digits and underscores only
		}
		if s.isBad() {
			level = domain.FindingWarning
		}
		use := "not in use"
		if s.Active {
			use = "in use"
		}
		trouble = append(trouble, fmt.Sprintf("the replication slot %s is %s, keeps %s MiB of WAL (%s), and its snapshot is %s old",
			s.Name, use, words.Count(s.Bytes>>20), s.Status, words.Many(s.Transactions, "transaction")))
	}
	if len(trouble) == 0 {
		return nil
	}
	return diagnosis.At(level, "replication-slot", strings.Join(trouble, "; "),
		"a slot whose reader is away keeps WAL until the disk is full, and may hold back vacuum as an old snapshot does",
		"bring its reader back, or SELECT pg_drop_replication_slot('"+worst+"'); and set max_slot_wal_keep_size")
}
