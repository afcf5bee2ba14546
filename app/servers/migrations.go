package servers

import (
	"outboxd/migrations"
	"outboxd/migrations/example"
)

// Migrations returns what the schemas of a process consist of, in the order in
// which they are made: that of outboxd and, if it runs the example, the example's.
func Migrations(runsExample bool) []migrations.Set {
	if runsExample {
		return []migrations.Set{migrations.Core(), example.Migrations()}
	}
	return []migrations.Set{migrations.Core()}
}
