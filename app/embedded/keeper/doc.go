// Package keeper shares a server among the processes on one data directory: one of
// them owns it, the others join it, and one of those starts it again when the owner is
// gone. It has what every server needs for that: the folder, its locks, the state that
// is published in it, the account and the child process. It knows no server; package
// postgresql and package redis are its engines.
package keeper
