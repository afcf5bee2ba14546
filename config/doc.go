// Package config holds the options of outboxd: their names, defaults, limits
// and meanings. It reads them from flags, environment and file, and checks them
// together.
//
// One table, in table.go, is the source of everything: flags, variables, keys,
// defaults, checks, the reference in docs/reference/configuration.md and
// outboxd.example.yaml. A new option is a field in config.go and an entry in
// the table; then "go test ./config -update" rewrites the two files.
//
// The package opens no connection and reads no file but the configuration file.
// It does not know what the options do.
package config

//go:generate go test -run ^TestGeneratedFiles$ . -update
