// Package distance puts proxies in front of PostgreSQL and Redis. A proxy adds a
// network delay, as if the server were far away, and can count what a client sends
// to PostgreSQL.
package distance
