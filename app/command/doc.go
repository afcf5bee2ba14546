// Package command is the command line: one file for each noun, and how all of them open
// the servers and print results. What runs without a command is in package daemon; what a
// command asks is answered in repository and jobs.
package command

//go:generate go test -run ^TestManPages$ . -update
