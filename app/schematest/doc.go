// Package schematest makes databases with outboxd's schema, for tests. Either one
// account owns everything, or the database has the roles and grants of
// deploy/postgres.
//
// The package is for tests only. Package servertest starts the servers.
package schematest
