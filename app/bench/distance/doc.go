// Package distance puts proxies in front of PostgreSQL and Redis. The proxies make
// a server seem farther away, and can read what a client sends to PostgreSQL.
package distance
