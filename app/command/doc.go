// Package command is the command line, with one file for each noun. Its commands open
// the servers and print results in one way. Package daemon has the daemon; repository
// and jobs answer the commands' questions.
package command

//go:generate go test -run ^(TestManPages|TestPromises|TestCommandIndex|TestJSONReference)$ . -update
