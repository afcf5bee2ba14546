// Package embedded runs a private PostgreSQL and a private Redis as child processes
// of outboxd, for development, tests and a first look.
//
// Both listen on unix sockets in a data directory that is kept between runs. One
// process owns a server, and others on the same data directory join it. When the
// owner ends, in whatever way, its servers end too. One of the joined processes then
// starts them again at the same address, so that the others see only a short outage.
//
// It installs and downloads nothing, and it is no process supervisor: it reports a
// server that dies on Failed, and the caller decides what follows. It does not offer
// backups, upgrades between PostgreSQL versions or access from other machines: for
// these, use a server of your own and give its URL.
package embedded
