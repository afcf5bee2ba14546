// Package address reads the addresses that options give: of PostgreSQL, Redis, HTTP
// servers and mail, and to listen on. It refuses what a library would pass over, masks
// passwords, and decides which addresses only this machine reaches.
//
// It connects to nothing. Errors about addresses that may hold a password quote none
// of it.
package address
