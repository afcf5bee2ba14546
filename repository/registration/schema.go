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

// schema is the name of the schema that they are in. Every statement names it:
// the sessions have only the schema of outboxd on their search_path.
type schema string

// of returns the full name of a table.
func (s schema) of(table string) string { return pgx.Identifier{string(s), table}.Sanitize() }

// in begins a statement of GORM's on a table.
func (s schema) in(tx *gorm.DB, table string) *gorm.DB { return tx.Table(string(s) + "." + table) }
