package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"outboxd/domain"
	"outboxd/domain/registration"
	"outboxd/repository"
	"outboxd/repository/postgres"
)

// Users implements registration.UserStore.
type Users struct {
	db     *postgres.Database
	schema schema
}

// NewUsers returns the users in db. name is the name of the example's schema.
func NewUsers(db *postgres.Database, name string) *Users { return &Users{db: db, schema: schema(name)} }

var _ registration.UserStore = (*Users)(nil)

// GORM maps these types to the rows of the example's tables.
type (
	userRow struct {
		ID           domain.ID
		Email        string
		PasswordHash string
		CreatedAt    time.Time `gorm:"default:now()"`
	}
	notificationRow struct {
		ID        domain.ID
		UserID    domain.ID
		Type      string
		Message   string
		Status    registration.NotificationStatus
		SentAt    *time.Time
		CreatedAt time.Time `gorm:"default:now()"`
	}
	idempotencyKeyRow struct {
		Key    string `gorm:"primaryKey"`
		UserID domain.ID
	}
)

// Register implements registration.UserStore.
func (u *Users) Register(ctx context.Context, user *registration.User, idempotencyKey string, headers map[string]string) error {
	return u.db.Transact(ctx, "register a user", func(tx *gorm.DB) error {
		var err error
		row := userRow{Email: user.Email, PasswordHash: user.PasswordHash}
		if row.ID, err = newID(ctx, tx); err != nil {
			return err
		}
		if err := u.claimKey(tx, idempotencyKey, row.ID); err != nil {
			return err
		}
		if err := u.schema.in(tx, usersTable).Create(&row).Error; errors.Is(err, gorm.ErrDuplicatedKey) {
			return &domain.Error{
				Code: domain.CodeConflict, Message: "the e-mail address is already registered", Err: err,
				Fields: []domain.FieldError{{Field: "email", Message: "is already registered"}},
			}
		} else if err != nil {
			return err
		}
		welcome := notificationRow{
			UserID: row.ID, Type: registration.NotificationUserRegistration,
			Message: registration.WelcomeMessage, Status: registration.NotificationPending,
		}
		if welcome.ID, err = newID(ctx, tx); err != nil {
			return err
		}
		if err := u.schema.in(tx, notificationsTable).Create(&welcome).Error; err != nil {
			return err
		}
		user.ID, user.CreatedAt = row.ID, row.CreatedAt
		return emitNotification(ctx, tx, u.db.Schema(), welcome, headers)
	})
}

// Register calls claimKey before it inserts the user. If two requests come with the same
// Idempotency-Key at the same time, the second one waits in claimKey. If the first one
// succeeds, the second one is refused because of the key, and not because of the e-mail
// address.
func (u *Users) claimKey(tx *gorm.DB, key string, user domain.ID) error {
	if key == "" {
		return nil
	}
	result := u.schema.in(tx, keysTable).Clauses(clause.OnConflict{DoNothing: true}).Create(&idempotencyKeyRow{Key: key, UserID: user})
	if result.Error == nil && result.RowsAffected == 0 {
		return registration.ErrKeyUsed
	}
	return result.Error
}

func emitNotification(ctx context.Context, tx *gorm.DB, schema string, n notificationRow, headers map[string]string) error {
	payload, err := json.Marshal(registration.SendNotification{UserID: n.UserID, NotificationID: n.ID, NotificationType: n.Type})
	if err != nil {
		return err
	}
	return repository.NewEmitter(tx, schema).Emit(ctx, &domain.Event{
		Type: registration.TypeSendNotification, Queue: registration.NotificationQueue, Payload: payload, Headers: headers,
		Options: domain.TaskOptions{Retention: registration.NotificationRetention},
	})
}

func newID(ctx context.Context, tx *gorm.DB) (id domain.ID, err error) {
	err = postgres.Statements(tx).QueryRowContext(ctx, "SELECT outbox_new_id()").Scan(&id)
	return id, err
}

// FindUserByKey implements registration.UserStore.
func (u *Users) FindUserByKey(ctx context.Context, idempotencyKey string) (*registration.User, error) {
	var row userRow
	err := u.schema.in(u.db.GORM().WithContext(ctx), usersTable).
		Where("id = (SELECT user_id FROM "+u.schema.of(keysTable)+" WHERE key = ?)", idempotencyKey).
		Take(&row).Error
	if err != nil {
		return nil, postgres.Translate(err, "find a user by Idempotency-Key")
	}
	return row.user(), nil
}

// FindUser implements registration.UserStore.
func (u *Users) FindUser(ctx context.Context, id domain.ID) (*registration.User, []registration.Notification, error) {
	var row userRow
	if err := u.schema.in(u.db.GORM().WithContext(ctx), usersTable).Take(&row, "id = ?", id).Error; err != nil {
		return nil, nil, postgres.Translate(err, "find a user")
	}
	var rows []notificationRow
	if err := u.schema.in(u.db.GORM().WithContext(ctx), notificationsTable).Where("user_id = ?", id).Order("created_at, id").Find(&rows).Error; err != nil {
		return nil, nil, postgres.Translate(err, "find a user's notifications")
	}
	notifications := make([]registration.Notification, len(rows))
	for i := range rows {
		notifications[i] = registration.Notification(rows[i])
	}
	return row.user(), notifications, nil
}

func (r *userRow) user() *registration.User {
	return &registration.User{ID: r.ID, Email: r.Email, PasswordHash: r.PasswordHash, CreatedAt: r.CreatedAt}
}

const trimKeysSQL = `
DELETE FROM %[1]s WHERE key = ANY(ARRAY(
    SELECT key FROM %[1]s WHERE created_at < now() - $1 * interval '1 second' ORDER BY created_at LIMIT $2))`

// TrimKeys implements registration.UserStore.
func (u *Users) TrimKeys(ctx context.Context, age time.Duration, limit int) (int64, error) {
	return u.db.Trim(ctx, "trim the idempotency keys", fmt.Sprintf(trimKeysSQL, u.schema.of(keysTable)), age, limit)
}
