// Package schematest gives tests databases with outboxd's schema in them: as
// migrated by one account, or with the roles and grants of deploy/postgres.
//
// It is for tests only. The servers below are package servertest's.
package schematest
