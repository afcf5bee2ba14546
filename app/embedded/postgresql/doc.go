// Package postgresql is the keeper's engine for PostgreSQL: it finds an installation,
// makes a data directory, and starts the server on it.
package postgresql
