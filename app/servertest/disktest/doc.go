// Package disktest mounts small disks for tests: to fill one, or to stay below a
// size. A disk is a file system in memory. Mounting needs root or sudo.
//
// Package disktest is for tests only, and knows no server.
package disktest
