// Package postgrestest starts PostgreSQL servers that only one test uses: to stop them,
// fill their disk, set their clock, let a standby follow them, or restore them from an
// archive. Package postgrestest also starts PgBouncer in front of a database, and runs
// programs such as pg_dump.
//
// Package postgrestest is for tests only. A test that does nothing to its server uses
// servertest.Database, which starts no server.
package postgrestest
