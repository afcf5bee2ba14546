// Package stored describes how PostgreSQL stores an event: its columns, the tables
// that can hold it and the state that each table means, rows to write, rows that were
// read, rows that are unfit, and the journal. The packages of repository build their
// statements from it. Except for the entries of people's actions it reads and writes
// nothing itself.
package stored
