// Package postgres is the connection to PostgreSQL: the pool, the settings of its
// sessions with and without a pooler, transactions that are repeated, long work
// in pieces, and the meaning of the server's errors.
//
// One pool serves everything: pgx connections, which database/sql and GORM use
// too. The package knows no table: the packages that import it have the
// statements.
package postgres
