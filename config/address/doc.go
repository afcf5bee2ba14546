// Package address reads the addresses in option values: addresses of PostgreSQL, Redis,
// HTTP servers and mail, and addresses to listen on. Package address refuses faults that
// a library would ignore, masks passwords, and reports which addresses only this machine
// can reach.
//
// It connects to nothing. An error about an address that may contain a password quotes no
// part of that address, except the name of a URL parameter.
package address
