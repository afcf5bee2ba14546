// Package app is outboxd as a program: its signals and exit codes. It and the packages
// below it are the only ones that know all others.
package app
