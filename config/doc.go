// Package config holds the options of outboxd: their names, defaults, limits and
// meanings. Package config reads the options from command-line flags, environment
// variables and the configuration file, and checks them together.
//
// Everything is made from one table, in table.go: flags, variables, keys of the file,
// defaults, limits, the reference in docs/reference/configuration.md and
// outboxd.example.yaml. To add an option, add a field in config.go and an entry in the
// table; then "go test ./config -update" rewrites the two files.
//
// The package opens no connection, and the only file that it reads is the configuration file.
package config

//go:generate go test -run ^TestGeneratedFiles$ . -update
