// Package app is the program outboxd: it handles signals and exit codes. Only this
// package and the packages below it may import all other packages.
package app
