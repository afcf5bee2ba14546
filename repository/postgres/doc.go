// Package postgres connects to PostgreSQL. Package postgres has the pool, the settings of
// its sessions with and without a pooler, transactions that are repeated after a lost
// connection, long work in pieces, and the meaning of the server's errors.
//
// A Database has one pool of pgx connections. database/sql and GORM use its connections too. The
// package knows no table: the packages that import it have the SQL statements.
package postgres
