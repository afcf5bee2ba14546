package confirm

import (
	"context"
	"fmt"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// DeliveryJournal writes into the journal which deliveries receivers accepted.
type DeliveryJournal struct{ db *postgres.Database }

// NewDeliveryJournal returns the DeliveryJournal of db.
func NewDeliveryJournal(db *postgres.Database) *DeliveryJournal { return &DeliveryJournal{db: db} }

const deliveredSQL = `INSERT INTO outbox_journal (event_id, stage, entry, generation, attempt, detail) VALUES ($1, 'worker', 'delivered', 0, $2, $3)`

// Delivered writes into the journal that a receiver accepted a delivery, in the transaction
// tx that confirms the delivery. If tx comes from Inbox.Process, the entry is sent with
// COMMIT, and its error is an error of the commit.
func (j *DeliveryJournal) Delivered(ctx context.Context, tx domain.Effects, id domain.ID, attempt int, detail string) error {
	if own, ok := tx.(effects); ok {
		own.last(deliveredSQL, id, attempt, j.db.Storable(detail))
		return nil
	}
	if _, err := tx.Tx().ExecContext(ctx, deliveredSQL, id, attempt, j.db.Storable(detail)); err != nil {
		return fmt.Errorf("record that a receiver accepted a delivery: %w", err)
	}
	return nil
}
