// Package command is the command line, with one file for each noun, such as events
// or keys. All commands open the servers and print results in the same way. Package
// daemon has the daemon; packages below repository and jobs read and change the
// data.
package command

//go:generate go test -run ^(TestManPages|TestPromises|TestCommandIndex|TestJSONReference)$ . -update
