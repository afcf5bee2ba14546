// Package certtest issues certificates for servers and clients that talk by TLS.
//
// Package certtest is for tests only. Package postgrestest starts a PostgreSQL with such
// certificates; for Redis, a test of TLS configures redistest.StartProgram.
package certtest
