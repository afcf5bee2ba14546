// Package example holds the tables of the example, user registration, as
// numbered SQL files. They are made by the runner of the package migrations, in
// a schema of their own, where the example runs and nowhere else.
package example

import (
	"embed"

	"outboxd/migrations"
)

//go:embed *.sql
var files embed.FS

// suffix is what the files of this folder put behind the name of outboxd's schema.
const suffix = "_example"

// Schema is the schema of the example beside an outboxd in the schema core.
func Schema(core string) string { return core + suffix }

// Migrations returns the migrations of the example.
func Migrations() migrations.Set {
	return migrations.Set{Files: files, Suffix: suffix, Table: "outboxd_example_migrations", Flag: " --example=on"}
}
