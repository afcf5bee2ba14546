package search

import (
	"time"

	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/repository/stored"
)

// CountLimit is the largest number of rows that a measurement counts in one table.
const CountLimit = overview.StandingCounted

// StandingSQL counts the pending, held and dead events, each up to the limit $3. Below the
// limit a count is exact. If a count of pending or held events reaches the limit, the
// planner's estimate is used if it is larger. Of dead events there is no estimate. To count
// the held keys, StandingSQL reads only the first held event of each key.
var StandingSQL = heldHeadsSQL + `
SELECT greatest(counted, CASE WHEN counted = $3 THEN (SELECT reltuples::bigint FROM pg_class WHERE oid = 'outbox'::regclass) END) AS pending,
       counted = $3 AS estimated,
       (SELECT ` + stored.Within("available_at") + ` FROM outbox WHERE available_at <= now() ORDER BY available_at, id LIMIT 1) AS oldest,
       (SELECT count(*) FROM (SELECT FROM outbox_dead LIMIT $3) AS few) AS dead,
       greatest(waiting, CASE WHEN waiting = $3 THEN (SELECT reltuples::bigint FROM pg_class WHERE oid = 'outbox_held'::regclass) END) AS held,
       (SELECT count(*) FROM heads) AS held_keys, (SELECT min(held_at) FROM heads) AS oldest_held
FROM (SELECT count(*) AS counted FROM (SELECT FROM outbox LIMIT $3) AS few) AS c,
     (SELECT count(*) AS waiting FROM (SELECT FROM outbox_held LIMIT $3) AS few) AS h`

// Standing is a row of StandingSQL.
type Standing struct {
	domain.Backlog
	oldest, oldestHeld *time.Time
}

// Targets returns the targets for scanning a row of StandingSQL.
func (s *Standing) Targets() []any {
	return []any{&s.Pending, &s.Estimated, &s.oldest, &s.Dead, &s.Held, &s.HeldKeys, &s.oldestHeld}
}

// Read returns the backlog of the row that was scanned last.
func (s *Standing) Read() domain.Backlog {
	if s.oldest != nil {
		s.OldestDue = *s.oldest
	}
	if s.oldestHeld != nil {
		s.OldestHeld = *s.oldestHeld
	}
	return s.Backlog
}
