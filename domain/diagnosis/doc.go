// Package diagnosis turns facts about PostgreSQL, Redis and the process into
// findings. doctor, top, /readyz, the pages and the log show the findings of this
// package, so they have the same bounds and the same words.
//
// Its functions are pure: repository, jobs and the process read the facts. One
// kind of fact is judged where it is read, in package jobs/broker: Redis's answer
// to a command. Its codes are in the catalogue here too.
//
// To add a finding, add a line to the catalogue, a fact, and a function that
// judges it.
package diagnosis
