// Package app is the program outboxd: signals and exit codes. Only this package and
// those below it may import all others.
package app
