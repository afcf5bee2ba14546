// Package keeper shares a server among the processes on one data directory. One
// process owns the server and the others join it. When the owner is gone, one of the
// others starts the server again. The package has the parts that every server needs
// for this: the folder, its locks, the published state, the account and the child
// process. The package knows nothing about PostgreSQL or Redis: packages postgresql
// and redis implement its interface Engine.
package keeper
