// Package embedded runs a private PostgreSQL and a private Redis as child processes
// of outboxd, for development, for tests and for trying outboxd out.
//
// PostgreSQL and Redis listen on unix sockets in a data directory that is kept
// between runs. One process owns a server, and other processes on the same data
// directory join the server. When the owner ends, in whatever way, its servers end
// too. One of the joined processes then starts the servers again at the same
// address, so that the other processes see only a short outage.
//
// The package installs and downloads nothing, and it is no process supervisor. When a
// server dies, the package says so on the channel Failed, and the caller decides what
// follows. The package does not offer backups, upgrades between PostgreSQL versions or
// access from other machines. If you need these, use a server of your own and give its
// URL.
package embedded
