// Package stored describes how PostgreSQL stores an event: its columns, the tables that
// can have it and the state that each table means, rows to write, rows that were read,
// rows with faults, and the journal. Package repository and its subpackages build their
// statements from package stored. Package stored itself writes the records of people's
// actions.
package stored
