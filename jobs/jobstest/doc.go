// Package jobstest has helpers for the tests of the packages below jobs: they
// open a Redis, make events, and leave tasks there as Asynq does.
package jobstest
