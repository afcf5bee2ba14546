// Package example holds the tables of the example, user registration, as
// numbered SQL files. The package migrations runs them, in a schema of their
// own, and only in processes that run the example.
package example

import (
	"embed"

	"outboxd/migrations"
)

//go:embed *.sql
var files embed.FS

// suffix follows the name of outboxd's schema; the SQL files here use the same.
const suffix = "_example"

// Schema returns the name of the example's schema, where outboxd's schema is
// core.
func Schema(core string) string { return core + suffix }

// Migrations returns the migrations of the example.
func Migrations() migrations.Set {
	return migrations.Set{Files: files, Suffix: suffix, Table: "outboxd_example_migrations", Flag: " --example=on"}
}
