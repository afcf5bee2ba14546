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

// trimInboxSQL keeps the inbox row of an event that is still in a table. Without its inbox
// row a confirmed event of the history would look unconfirmed: it would be sent again and
// take effect twice.
var trimInboxSQL = `
WITH looked AS MATERIALIZED (
    SELECT ctid AS place, processed_at AS at, event_id AS id FROM inbox
    WHERE processed_at < now() - $1::float8 * interval '1 second' AND processed_at >= $3::timestamptz AND (processed_at > $3::timestamptz OR event_id > $4::uuid)
    ORDER BY processed_at, event_id LIMIT $2
), gone AS (
    DELETE FROM inbox WHERE ctid = ANY (ARRAY(
        SELECT place FROM looked WHERE ` + stored.Places.Lack("looked.id") + `))
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM looked), coalesce(last.at, $3), coalesce(last.id, $4)
FROM (SELECT) AS one LEFT JOIN (SELECT at, id FROM looked ORDER BY at DESC, id DESC LIMIT 1) AS last ON true`

// TrimInbox implements domain.Housekeeping.
func (h *Housekeeping) TrimInbox(ctx context.Context, age time.Duration, limit int) (int64, error) {
	days, err := h.partitions(ctx)
	if err != nil {
		return 0, postgres.Translate(err, "list the partitions of outbox_sent")
	}
	// Of the days that the history still has, nearly all rows must stay. Do not read them.
	unread := age
	for day := range days {
		unread = max(unread, time.Since(day))
	}
	inbox, err := h.trimPast(ctx, "trim the inbox", trimInboxSQL, unread, limit, limit)
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
