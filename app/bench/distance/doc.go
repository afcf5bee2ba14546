// Package distance puts proxies in front of PostgreSQL and Redis: they make a server
// seem farther away than it is, and read along what a client says to PostgreSQL.
package distance
