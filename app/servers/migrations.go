package servers

import (
	"outboxd/migrations"
	"outboxd/migrations/example"
)

// Migrations returns the sets of migrations of a process, in the order in which
// they are applied: outboxd's and, if the process runs the example, the example's.
func Migrations(runsExample bool) []migrations.Set {
	if runsExample {
		return []migrations.Set{migrations.Core(), example.Migrations()}
	}
	return []migrations.Set{migrations.Core()}
}
