package servers

import (
	"outboxd/migrations"
	"outboxd/migrations/example"
)

// Migrations returns the sets of migrations that a process needs, in the order of
// application: outboxd's set and, if the process runs the example, the example's
// set.
func Migrations(runsExample bool) []migrations.Set {
	if runsExample {
		return []migrations.Set{migrations.Core(), example.Migrations()}
	}
	return []migrations.Set{migrations.Core()}
}
