package thorough

import (
	"fmt"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// Leader is the database session of the leader, the relay that holds the leader's lock in PostgreSQL.
type Leader struct {
	PID         int
	Application string
	// Silent is how long the session has sent nothing; 0 if this role may not see it. Above Limit the leader counts as
	// silent, somewhat before PostgreSQL ends the session.
	Silent, Limit time.Duration
}

// FailingWork is one of the leader's duties that fails at present.
type FailingWork struct {
	Work, Error string // Work completes "the leader cannot"
	Since       time.Duration
}

// UnknownEvents counts tasks whose event PostgreSQL lost when it went back to an earlier state.
type UnknownEvents struct {
	Ago     time.Duration
	Tasks   int64 // counted up to one more than diagnosis.Counted
	Example string
}

// MissingEvents counts events that are not confirmed and whose task is no longer in Redis, or is completed there.
type MissingEvents struct {
	Events  int64  // counted up to one more than diagnosis.Counted
	Types   string // with commas between
	Example string
	Resends int // how often the most resent event was sent again
}

// HeldKeys counts ordering keys that have held events back for too long, among up to 50,000 turns.
type HeldKeys struct {
	Keys, Dead int64 // Dead: the keys that wait for a dead letter
	Longest    time.Duration
	Example    string // the event that has had its turn longest
}

// typesLength bounds the shown text of a list of event types, in bytes.
const typesLength = 200

func (l *Leader) judge() []domain.Finding {
	if l == nil || l.Silent <= l.Limit {
		return nil
	}
	return diagnosis.Of(diagnosis.CodeLeaderSilent, fmt.Sprintf("the leader (%s) has shown no sign of life for %s: it is suspended, or cut off by the network", who(l.PID, l.Application, ""), whole(l.Silent)),
		"until another relay leads, losses in Redis go unnoticed, nothing is trimmed, and held events may stay held",
		fmt.Sprintf("wait a minute: PostgreSQL ends its session and another relay leads; if it does not, SELECT pg_terminate_backend(%d)", l.PID))
}

func judgeFailing(works []FailingWork) []domain.Finding {
	if len(works) == 0 {
		return nil
	}
	list := make([]string, len(works))
	for i, w := range works {
		list[i] = fmt.Sprintf("cannot %s, for %s: %s", w.Work, whole(w.Since), w.Error)
	}
	return diagnosis.Of("leader-failing", "the leader "+strings.Join(list, "; it "),
		"until it works, events that Redis lost may not be sent again, tables may grow, and held events may stay held",
		"mend what the error names; nothing is lost until then, and the leader tries again by itself")
}

func (u *UnknownEvents) judge() []domain.Finding {
	if u == nil || u.Tasks == 0 {
		return nil
	}
	return diagnosis.Of("events-unknown", fmt.Sprintf("PostgreSQL went back to an earlier state %s ago, and %s no event any more, such as %s",
		whole(u.Ago), atMost(u.Tasks)+words.Plural(u.Tasks, " task has", " tasks have"), u.Example),
		"the transactions that wrote these events are lost, with everything else that they wrote; the tasks had no effect",
		"let the producers repeat what they lost; SELECT event_id, at FROM outbox_journal WHERE entry = 'unknown' names all of them")
}

func (m *MissingEvents) judge() []domain.Finding {
	if m == nil || m.Events == 0 {
		return nil
	}
	types, again := m.Types, ""
	if len(types) > typesLength {
		types = strings.ToValidUTF8(types[:typesLength], "") + " …"
	}
	if m.Resends > 0 {
		again = "; they were sent again up to " + words.Many(m.Resends, "time")
	}
	return diagnosis.Of("events-missing", fmt.Sprintf("the %s of %s without confirmation %s no longer in Redis, of the types %s, such as event %s%s",
		words.Plural(m.Events, "task", "tasks"), atMost(m.Events)+words.Plural(m.Events, " event", " events"), words.Plural(m.Events, "is", "are"), types, m.Example, again),
		"their effects may be missing: the tasks were deleted or evicted, or a consumer handles them and does not confirm them",
		"outboxd redrive --missing sends them again; if no consumer confirms a type, name it in --relay-unconfirmed")
}

func (h *HeldKeys) judge() []domain.Finding {
	if h == nil || h.Keys == 0 {
		return nil
	}
	dead := ""
	if h.Dead > 0 {
		dead = fmt.Sprintf("; %s of them %s for a dead letter", words.Count(h.Dead), words.Plural(h.Dead, "waits", "wait"))
	}
	return diagnosis.Of(diagnosis.CodeKeysHeld, fmt.Sprintf("%s events back, the longest for %s%s",
		words.Many(h.Keys, "ordering key")+words.Plural(h.Keys, " holds", " hold"), whole(h.Longest), dead),
		"the other events of these keys wait until the event that has the turn is confirmed, replayed or discarded",
		"outboxd keys list says why; outboxd events show "+h.Example+" shows the event that has held its key longest; if it is dead, outboxd dead replay or discard it")
}
