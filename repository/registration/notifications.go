package registration

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/repository/postgres"
)

// Notifications implements registration.NotificationStore.
type Notifications struct {
	db     *postgres.Database
	schema schema
}

// NewNotifications returns the notifications in db. name is the name of the example's
// schema.
func NewNotifications(db *postgres.Database, name string) *Notifications {
	return &Notifications{db: db, schema: schema(name)}
}

var _ registration.NotificationStore = (*Notifications)(nil)

// FindNotification implements registration.NotificationStore.
func (n *Notifications) FindNotification(ctx context.Context, id domain.ID) (*registration.Notification, *registration.User, error) {
	db := n.db.GORM().WithContext(ctx)
	var row notificationRow
	if err := n.schema.in(db, notificationsTable).Take(&row, "id = ?", id).Error; err != nil {
		return nil, nil, postgres.Translate(err, fmt.Sprintf("find notification %s", id))
	}
	var user userRow
	// The query does not read the hash of the password, because the worker's database role
	// may not read it.
	if err := n.schema.in(db, usersTable).Select("id", "email", "created_at").Take(&user, "id = ?", row.UserID).Error; err != nil {
		return nil, nil, postgres.Translate(err, fmt.Sprintf("find user %s", row.UserID))
	}
	notification := registration.Notification(row)
	return &notification, user.user(), nil
}

const markSentSQL = `UPDATE %s SET status = 'SENT', sent_at = clock_timestamp() WHERE id = $1`

// MarkSent implements registration.NotificationStore.
func (n *Notifications) MarkSent(ctx context.Context, effects domain.Effects, id domain.ID) error {
	doing := fmt.Sprintf("mark notification %s sent", id)
	result, err := effects.Tx().ExecContext(ctx, fmt.Sprintf(markSentSQL, n.schema.of(notificationsTable)), id)
	if err != nil {
		return postgres.Translate(err, doing)
	}
	if rows, err := result.RowsAffected(); err != nil || rows == 0 {
		return postgres.Translate(cmp.Or(err, sql.ErrNoRows), doing)
	}
	return nil
}
