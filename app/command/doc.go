// Package command is the command line: the root command, and the commands on outboxd
// itself, such as config, migrate and bench. Packages below it have the commands on
// events, dead letters, set-ups and figures, and the commands that judge the system's
// health. Each noun of the command line has at least one file. The package cli has what
// several commands share; terminal prints results.
//
// Package daemon has the daemon; packages below repository and jobs read and change the
// data.
package command

//go:generate go test -run ^(TestManPages|TestPromises|TestCommandIndex|TestJSONReference)$ . -update
