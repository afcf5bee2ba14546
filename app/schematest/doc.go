// Package schematest gives tests databases with outboxd's schema: migrated by
// one account, or with the roles and grants of deploy/postgres.
//
// It is for tests only. Package servertest starts the servers.
package schematest
