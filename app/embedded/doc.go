// Package embedded runs a private PostgreSQL and a private Redis as child processes
// of outboxd, for development, for tests and for trying outboxd out.
//
// PostgreSQL and Redis listen on unix sockets, and keep their data in a data directory
// between runs. One process owns a server, and other processes on the same data directory
// join the server. When the owner ends, in whatever way, its server ends too. One of the
// joined processes then starts the server again at the same address, so that the other
// processes see only a short outage. If no Redis is installed, one inside the owner can
// take its place (see Options.RedisServer). It keeps nothing on disk, and no other process
// can start it again: see Options.InProcessRedis.
//
// The package installs and downloads nothing, and it is no process supervisor. When a
// server dies, the package says so on the channel Failed, and the caller decides what
// follows. The package does not offer backups, upgrades between PostgreSQL versions or
// access from other machines. If you need these, use a server of your own and give its
// URL.
package embedded
