package registration

import (
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// The example's tables.
const (
	usersTable         = "users"
	notificationsTable = "notifications"
	keysTable          = "idempotency_keys"
)

// schema is the name of the schema that has the example's tables. Every statement names
// this schema, because the search_path of the sessions has only outboxd's schema.
type schema string

// The method of returns the full name of a table.
func (s schema) of(table string) string { return pgx.Identifier{string(s), table}.Sanitize() }

// The method in begins a GORM statement on a table.
func (s schema) in(tx *gorm.DB, table string) *gorm.DB { return tx.Table(string(s) + "." + table) }
