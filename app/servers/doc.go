// Package servers opens the PostgreSQL and the Redis of a configuration: the
// servers that it names, or else embedded servers. The package also derives the
// options for examining the servers. Other packages decide what to do with the
// servers.
package servers
