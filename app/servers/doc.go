// Package servers opens the PostgreSQL and the Redis that a configuration means:
// those that it names or, where it names none, servers of outboxd's own. It says
// what a look at them has to look for; what is done with them is decided elsewhere.
package servers
