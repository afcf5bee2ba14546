// Package jobstest has helpers for the tests of the packages below jobs. The helpers
// connect to a Redis, make events, and leave tasks in Redis as Asynq does.
package jobstest
