package upkeep

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Housekeeping implements domain.Housekeeping.
type Housekeeping struct {
	db        *postgres.Database
	directURL string
	terms     leaderTerms
}

// NewHousekeeping returns the Housekeeping of db. directURL is where the leader connects;
// it has the same meaning as the listenURL of repository.NewPresence.
func NewHousekeeping(db *postgres.Database, directURL string) *Housekeeping {
	return &Housekeeping{db: db, directURL: directURL, terms: defaultLeaderTerms}
}

var _ domain.Housekeeping = (*Housekeeping)(nil)

// trimInboxSQL leaves the inbox rows of cancelled events to trimCancelledSQL.
// trimCancelledSQL runs first, so trimInboxSQL skips only few rows. The subquery returns
// one value, so that the planner cannot read all cancelled events into a hash.
const trimInboxSQL = `
DELETE FROM inbox WHERE event_id = ANY(ARRAY(
    SELECT event_id FROM inbox i
    WHERE processed_at < now() - $1 * interval '1 second' AND (SELECT c.id FROM outbox_cancelled c WHERE c.id = i.event_id) IS NULL
    ORDER BY processed_at LIMIT $2))`

// TrimInbox implements domain.Housekeeping.
func (h *Housekeeping) TrimInbox(ctx context.Context, age time.Duration, limit int) (int64, error) {
	inbox, err := h.db.Trim(ctx, "trim the inbox", trimInboxSQL, age, limit)
	if err != nil {
		return 0, err
	}
	journal, err := h.trimJournal(ctx, age, limit)
	return max(inbox, journal), err
}

// The account keeps the number of the deleted suppressed events.
var trimSuppressedSQL = `
WITH gone AS (
    DELETE FROM outbox_suppressed WHERE id = ANY(ARRAY(
        SELECT id FROM outbox_suppressed WHERE suppressed_at < now() - $1 * interval '1 second' ORDER BY suppressed_at LIMIT $2))
    RETURNING event_type, created_at
), entered AS (
    INSERT INTO outbox_account AS a (day, event_type, suppressed)
    SELECT ` + stored.AccountDaySQL + `, event_type, count(*) FROM gone GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (day, event_type) DO UPDATE SET suppressed = a.suppressed + excluded.suppressed
)
SELECT count(*) FROM gone`

// TrimSuppressed implements domain.Housekeeping.
func (h *Housekeeping) TrimSuppressed(ctx context.Context, age time.Duration, limit int) (int64, error) {
	return h.trimCounted(ctx, "trim suppressed events", trimSuppressedSQL, age, limit)
}

// TrimRelays implements domain.Housekeeping.
func (h *Housekeeping) TrimRelays(ctx context.Context, age time.Duration) error {
	_, err := h.db.SQL().ExecContext(ctx, `DELETE FROM outbox_relays WHERE seen_at < now() - $1 * interval '1 second'`, age.Seconds())
	return postgres.Translate(err, "forget relays")
}
