package confirm

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

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
func (a *AcknowledgedEvents) Acknowledge(ctx context.Context, list []domain.Acknowledgement, after, next string) (int64, []domain.Acknowledgement, error) {
	var ids []domain.ID
	var types, queues, marks []string
	for _, one := range list {
		// Storable changes a text that this database cannot store. An acknowledgement with a
		// text that Storable changes belongs to no event of this database, so it is skipped.
		if one.Type == a.db.Storable(one.Type) && one.Queue == a.db.Storable(one.Queue) && one.Outbox == a.db.Storable(one.Outbox) {
			ids, types, queues, marks = append(ids, one.EventID), append(types, one.Type), append(queues, one.Queue), append(marks, one.Outbox)
		}
	}
	var n pgtype.Int8
	var events [][16]byte
	const statement = `SELECT confirmed, locked FROM outbox_acknowledge($1, $2, $3, $4, $5, $6)`
	err := a.db.Pool().QueryRow(ctx, statement, postgres.UUIDs(ids), types, queues, marks, after, next).Scan(&n, &events)
	if err == nil && !n.Valid {
		return 0, nil, domain.Errorf(domain.CodeConflict, "acknowledgements are not read from %q on now: another leader has read them, or the database may have gone back", after)
	}
	var locked []domain.Acknowledgement
	for _, id := range events {
		for _, one := range list {
			if one.EventID == domain.ID(id) && !slices.Contains(locked, one) {
				locked = append(locked, one)
			}
		}
	}
	return n.Int64, locked, postgres.Translate(err, "confirm what was acknowledged")
}
