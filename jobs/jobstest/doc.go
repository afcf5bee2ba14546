// Package jobstest has what the tests of the packages below jobs do again and
// again: open a Redis, make events, and leave tasks there as Asynq does.
package jobstest
