// Package keeper shares a server among the processes that use the same data
// directory. One process owns the server and the other processes join it. When the
// owner has ended, one of the other processes starts the server again. The package
// has the parts that every server needs for this: the folder, its locks, the
// published state, the account and the child process. The package knows nothing
// about PostgreSQL or Redis: packages postgresql and redis implement its interface
// Engine.
package keeper
