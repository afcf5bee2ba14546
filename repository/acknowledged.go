package repository

import (
	"context"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// AcknowledgedEvents implements domain.AcknowledgedEvents.
type AcknowledgedEvents struct{ db *postgres.Database }

var _ domain.AcknowledgedEvents = (*AcknowledgedEvents)(nil)

// NewAcknowledgedEvents returns the AcknowledgedEvents of db.
func NewAcknowledgedEvents(db *postgres.Database) *AcknowledgedEvents {
	return &AcknowledgedEvents{db: db}
}

// Position implements domain.AcknowledgedEvents.
func (a *AcknowledgedEvents) Position(ctx context.Context) (position string, err error) {
	err = a.db.Pool().QueryRow(ctx, `SELECT acknowledged FROM outbox_queue_identity`).Scan(&position)
	return position, postgres.Translate(err, "look how far acknowledgements were read")
}

// Acknowledge implements domain.AcknowledgedEvents.
func (a *AcknowledgedEvents) Acknowledge(ctx context.Context, list []domain.Acknowledgement, position string) (n int64, err error) {
	var ids []domain.ID
	var types, queues []string
	for _, one := range list {
		// A type or queue that this database cannot store belongs to no event
		// of it.
		if one.Type == a.db.Storable(one.Type) && one.Queue == a.db.Storable(one.Queue) {
			ids, types, queues = append(ids, one.EventID), append(types, one.Type), append(queues, one.Queue)
		}
	}
	err = a.db.Pool().QueryRow(ctx, `SELECT outbox_acknowledge($1, $2, $3, $4)`, postgres.UUIDs(ids), types, queues, position).Scan(&n)
	return n, postgres.Translate(err, "confirm what was acknowledged")
}
