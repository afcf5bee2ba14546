// Package postgres is the connection to PostgreSQL: the pool, the settings of its
// sessions, with and without a pooler in between, transactions that are repeated,
// long work in pieces, and what an error of the server means.
//
// One pool serves everything: pgx connections, handed to database/sql and from
// there to GORM. The package knows no table: the statements are in the packages
// that import it.
package postgres
