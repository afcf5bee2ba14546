package stored

import (
	"time"

	"outboxd/domain"
)

// The journal says what happened to an event in addition to a plain publication and
// confirmation; see migrations/00004_record.sql.

// JournalSQL appends entries to the journal. Args returns its parameters.
const JournalSQL = `
INSERT INTO outbox_journal (event_id, stage, entry, generation, attempt, detail, sent_at)
SELECT id, $1, entry, generation, attempt, detail, sent_at
FROM unnest($2::uuid[], $3::text[], $4::integer[], $5::integer[], $6::text[], $7::timestamptz[]) AS noted (id, entry, generation, attempt, detail, sent_at)`

// Journal is a list of journal entries of one stage, as arrays for JournalSQL.
type Journal struct {
	IDs                   [][16]byte
	entries, details      []string
	generations, attempts []int
	sent                  []*time.Time
}

// Add adds an entry for an event. If the entry is about an attempt, the event's
// Attempts must include that attempt.
func (j *Journal) Add(e *domain.Event, entry, detail string) {
	j.AddSent(e, entry, detail, nil)
}

// AddSent is Add for an entry with which the event leaves the history. sent is when the event had been handed to
// Redis. It is nil if the event was not handed to Redis, or if the time is not known.
func (j *Journal) AddSent(e *domain.Event, entry, detail string, sent *time.Time) {
	j.IDs = append(j.IDs, e.ID)
	j.entries, j.details = append(j.entries, entry), append(j.details, detail)
	j.generations, j.attempts = append(j.generations, e.Generation), append(j.attempts, e.Attempts)
	j.sent = append(j.sent, sent)
}

// Args returns the arguments of JournalSQL.
func (j *Journal) Args(stage domain.Stage) []any {
	return []any{string(stage), j.IDs, j.entries, j.generations, j.attempts, j.details, j.sent}
}
