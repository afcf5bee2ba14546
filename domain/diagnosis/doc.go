// Package diagnosis judges facts: what was read about PostgreSQL, Redis and the
// process goes in, and findings come out. Everybody who shows findings (doctor,
// top, /readyz, the pages and the log) shows those of this package, so that they
// have the same bounds and the same words.
//
// Its functions are pure. Reading the facts is the business of repository, jobs
// and the process. What Redis answered to a command is judged where the answer is
// read, in package jobs/broker; its codes are in the catalogue here too.
//
// A new finding is a line of the catalogue, a fact, and a function that judges it.
package diagnosis
