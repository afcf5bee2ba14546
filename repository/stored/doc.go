// Package stored is how an event stands in PostgreSQL: its columns, the tables
// in which it can be and what that says of its state, rows to write and rows that
// were read, what makes a row unfit, and the journal beside them. The packages of repository
// make their statements of it. It reads and writes nothing by itself, except the entries of what people
// did.
package stored
