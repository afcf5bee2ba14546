package diagnosis

import (
	"slices"

	"outboxd/domain"
)

// Look says how often the facts of a finding are read from the servers. That decides where the finding is shown.
type Look string

// The looks. A page or command that shows the findings of one Look also shows those of all more frequent ones.
const (
	// LookAlways is for facts that a few cheap queries read, and for what a daemon knows of itself. outboxd top reads
	// these facts each time it draws. The pages read them again if they are a second old, /readyz if they are five
	// seconds old. Looking up archived tasks is not cheap, so it happens at most every ten seconds.
	LookAlways Look = "always"
	// LookMinutely reads settings, catalogs and samples. A daemon reads them once a minute, outboxd top twice a
	// minute. /readyz and the pages show the last result.
	LookMinutely Look = "each minute"
	// LookDoctor is for outboxd doctor alone. The checks of LookDoctor need additional connections or an option such
	// as --producer-role, or repeat what a daemon checks when it starts.
	LookDoctor Look = "doctor"
)

// Kind describes one kind of finding.
type Kind struct {
	Code string
	// Levels has the level of the finding. If the level depends on the facts, Levels has
	// all possible levels.
	Levels []domain.FindingLevel
	Look   Look
}

// Catalogue returns all kinds of findings, by subject.
func Catalogue() []Kind {
	broken, warning, note := levels(domain.FindingBroken), levels(domain.FindingWarning), levels(domain.FindingNote)
	return []Kind{
		// Findings about events, and about the processes that move events.
		{"postgres-unreachable", broken, LookAlways},
		{domain.CodeRedisUnreachable, broken, LookAlways},
		{"redis-slow", warning, LookAlways},
		{"database-not-served", broken, LookAlways},
		{"breaker-open", broken, LookAlways},
		{"draining", warning, LookAlways},
		{"no-relay", broken, LookAlways},
		{"events-late", broken, LookAlways},
		{"leader-absent", warning, LookAlways},
		{"dead-letters", warning, LookAlways},
		{"no-worker", levels(domain.FindingBroken, domain.FindingWarning), LookAlways},
		{"tasks-failing", warning, LookAlways},
		{"backlog-growing", warning, LookAlways},
		{"redis-lost-data", warning, LookAlways},
		{"healed", warning, LookAlways},
		{"tasks-archived", note, LookAlways},
		{"receiver-down", warning, LookAlways},
		{CodeUnserved, broken, LookMinutely},
		{CodePaused, warning, LookAlways},
		{"queue-pause-lost", warning, LookAlways},
		{CodeUnhandled, warning, LookMinutely},
		{"subscription-twice", warning, LookMinutely},
		{CodeKeysHeld, warning, LookMinutely},
		{"events-missing", warning, LookMinutely},
		{"events-unknown", warning, LookMinutely},
		{CodeLeaderSilent, warning, LookMinutely},
		{"leader-failing", warning, LookMinutely},
		{"schedules-late", warning, LookMinutely},
		// Findings about PostgreSQL.
		{"postgres-version", warning, LookMinutely},
		{"postgres-read-only", broken, LookMinutely},
		{"postgres-fsync-off", warning, LookMinutely},
		{"postgres-commits-later", warning, LookMinutely},
		{"postgres-clock", warning, LookMinutely},
		{"postgres-connections", warning, LookMinutely},
		{"autovacuum-off", warning, LookMinutely},
		{"vacuum-behind", warning, LookMinutely},
		{"old-snapshot", warning, LookMinutely},
		{"prepared-transaction", warning, LookMinutely},
		{"replication-slot", levels(domain.FindingWarning, domain.FindingNote), LookMinutely},
		{"partition-missing", warning, LookMinutely},
		{"partitions-behind", warning, LookMinutely},
		{"partition-default", note, LookMinutely},
		{"relay-rights", note, LookMinutely},
		{"row-security", warning, LookMinutely},
		{"replica-identity", warning, LookMinutely},
		{"triggers-off", warning, LookMinutely},
		{"triggers-bypassed", warning, LookMinutely},
		{"triggers-always", note, LookMinutely},
		{"positions-behind", warning, LookMinutely},
		{"pooler", note, LookMinutely},
		{"events-hidden", note, LookAlways},
		{"postgres-hidden", note, LookMinutely},
		{"listen-in-vain", warning, LookDoctor},
		{"producer-unknown", warning, LookDoctor},
		{"producer-rights", warning, LookDoctor},
		{"schema-outdated", warning, LookDoctor},
		{"schema-newer", note, LookDoctor},
		// Findings about Redis: its answers to commands, its state, its settings.
		{"redis-credentials", broken, LookAlways},
		{"redis-rights", broken, LookAlways},
		{"redis-queue-rights", broken, LookMinutely},
		{"redis-database", broken, LookAlways},
		{"redis-command", broken, LookAlways},
		{"redis-cluster", broken, LookAlways},
		{"redis-answer", broken, LookAlways},
		{"redis-loading", broken, LookAlways},
		{"redis-busy", broken, LookAlways},
		{"redis-replicas", broken, LookAlways},
		{"redis-read-only", broken, LookMinutely},
		{"redis-memory", levels(domain.FindingBroken, domain.FindingWarning), LookMinutely},
		{"redis-disk", levels(domain.FindingBroken, domain.FindingWarning), LookMinutely},
		{"redis-connections", levels(domain.FindingBroken, domain.FindingWarning), LookMinutely},
		{"redis-version", warning, LookMinutely},
		{"redis-clock", warning, LookMinutely},
		{"redis-evicts", warning, LookMinutely},
		{"redis-keeps-nothing", warning, LookMinutely},
		{"redis-in-process", warning, LookMinutely},
		{"redis-eviction-policy", note, LookMinutely},
		{"redis-snapshots-only", note, LookMinutely},
		{"redis-queues-hidden", note, LookMinutely},
		{"redis-settings-hidden", note, LookMinutely},
	}
}

func levels(list ...domain.FindingLevel) []domain.FindingLevel { return list }

// kindOf returns the kind of a code.
func kindOf(code string) (Kind, bool) {
	all := Catalogue()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Code == code })
	if i < 0 {
		return Kind{}, false
	}
	return all[i], true
}

// Of returns a list with one finding. Its level is that of the catalogue, where the kind must have exactly
// one.
func Of(code, found, so, mend string) []domain.Finding {
	kind, known := kindOf(code)
	if !known || len(kind.Levels) != 1 {
		panic("the catalogue does not state the level of " + code)
	}
	return At(kind.Levels[0], code, found, so, mend)
}

// At returns a list with one finding of the given level. It is for kinds that may have several levels.
func At(level domain.FindingLevel, code, found, so, mend string) []domain.Finding {
	return []domain.Finding{{Code: code, Level: level, Found: found, Consequence: so, Remedy: mend}}
}
