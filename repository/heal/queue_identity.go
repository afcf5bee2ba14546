package heal

import (
	"context"
	"database/sql"
	"time"

	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/repository/postgres"
)

// QueueMemory implements lost.QueueMemory.
type QueueMemory struct {
	db   *postgres.Database
	line lineage
}

// NewQueueMemory returns the QueueMemory of db.
func NewQueueMemory(db *postgres.Database) *QueueMemory { return &QueueMemory{db: db} }

var _ lost.QueueMemory = (*QueueMemory)(nil)

// Recall implements lost.QueueMemory.
func (m *QueueMemory) Recall(ctx context.Context) (lost.QueueRecord, error) {
	var record lost.QueueRecord
	var healed sql.NullTime
	var history float64
	i, d := &record.Identity, &record.Database
	err := m.db.SQL().QueryRowContext(ctx, `SELECT name, run_id, replication_id, shards, canary, canary_before, heal_canary, heal_reason, system_id, timeline, history_seconds, healed_at
		FROM outbox_queue_identity`).
		Scan(&record.Name, &i.RunID, &i.ReplicationID, &i.Shards, &i.Canary, &record.Before, &record.Heal.Canary, &record.Heal.Reason, &d.SystemID, &d.Timeline, &history, &healed)
	record.HealedAt, record.History = healed.Time, time.Duration(history*float64(time.Second))
	return record, postgres.Translate(err, "recall the queue's identity")
}

// beginHealSQL and rememberSQL change the row only if the row still has the known identity. So if two
// processes believe that they lead, one of them learns that it does not.
const beginHealSQL = `
UPDATE outbox_queue_identity SET heal_canary = $5, heal_reason = $6
WHERE run_id = $1 AND replication_id = $2 AND canary = $3 AND shards = $4`

// BeginHeal implements lost.QueueMemory.
func (m *QueueMemory) BeginHeal(ctx context.Context, known lost.QueueIdentity, heal lost.Heal) error {
	return m.replace(ctx, "remember that a heal begins", beginHealSQL, known, heal.Canary, heal.Reason)
}

const rememberSQL = `
UPDATE outbox_queue_identity
SET run_id = $5, replication_id = $6, canary = $7, shards = $8, canary_before = CASE WHEN $9::text = '' THEN canary ELSE '' END,
    heal_canary = '', healed_at = CASE WHEN $9 = '' THEN healed_at ELSE now() END, heal_reason = coalesce(nullif($9, ''), heal_reason)
WHERE run_id = $1 AND replication_id = $2 AND canary = $3 AND shards = $4`

// Remember implements lost.QueueMemory.
func (m *QueueMemory) Remember(ctx context.Context, known, next lost.QueueIdentity, healed string) error {
	return m.replace(ctx, "remember the queue's identity", rememberSQL, known, next.RunID, next.ReplicationID, next.Canary, next.Shards, healed)
}

// replace runs a statement that changes the row if the row has the known identity. The parts of the
// identity are the first parameters of the statement.
func (m *QueueMemory) replace(ctx context.Context, doing, statement string, known lost.QueueIdentity, values ...any) error {
	result, err := m.db.SQL().ExecContext(ctx, statement, append([]any{known.RunID, known.ReplicationID, known.Canary, known.Shards}, values...)...)
	if err != nil {
		return postgres.Translate(err, doing)
	}
	if rows, err := result.RowsAffected(); err != nil || rows == 0 {
		return domain.Wrap(domain.CodeConflict, err, "another process has replaced the stored identity of the queue")
	}
	return nil
}

// Redrive implements lost.QueueMemory.
func (m *QueueMemory) Redrive(ctx context.Context, r lost.Redrive) (int64, error) {
	return NewRedriver(m.db).redrive(ctx, redrive{window: r.Window, except: r.Except, stage: domain.StageRelay, why: r.Why, slots: r.Slots})
}
