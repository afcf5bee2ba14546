// Package example holds the tables of the example, user registration, as numbered SQL files. The package migrations
// runs these files, in a separate schema, and only in processes that run the example.
package example

import (
	"embed"

	"outboxd/migrations"
)

//go:embed *.sql
var files embed.FS

// suffix is appended to the name of outboxd's schema. The SQL files in this folder use the same suffix.
const suffix = "_example"

// Schema returns the name of the example's schema. core is the name of outboxd's schema.
func Schema(core string) string { return core + suffix }

// Migrations returns the migrations of the example.
func Migrations() migrations.Set {
	return migrations.Set{Files: files, Suffix: suffix, Table: "outboxd_example_migrations", Flag: " --example=on"}
}
