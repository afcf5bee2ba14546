// Package embedded runs a private PostgreSQL and a private Redis as child processes of outboxd, for development, tests and a first look.
//
// Both listen on unix sockets in a data directory that is kept between runs. One process owns a server, the others on the same data
// directory join it; when the owner goes away, by whatever means, its servers go with it, and one of the joined processes starts them
// again at the same address, so that a joined process sees a short outage and not the end.
//
// It installs and downloads nothing, and it is no process supervisor: a server that dies is reported on Failed, and what
// follows is the caller's decision. Backups, upgrades between PostgreSQL versions and access from other machines are not its subject:
// whoever needs these has a server of their own and gives its URL.
package embedded
