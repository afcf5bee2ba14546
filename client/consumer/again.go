package consumer

import (
	"errors"
	"strings"
	"time"
)

// mostTries bounds how often one attempt of a task begins its transaction. After a
// change of a table every connection of the pool may have a plan that is of no use
// any more, and loses it by failing once.
const mostTries = 20

// beginPause is how long a task waits before it asks the database again.
const beginPause = 500 * time.Millisecond

// sqlState is what the errors of every driver have in common.
type sqlState interface {
	error
	SQLState() string
}

// isPassing tells whether PostgreSQL ended a transaction for a reason that is gone
// with it: somebody changed a table of which the session had a plan, or it lost
// against another transaction. Nothing of such a transaction has happened.
func isPassing(err error) bool {
	state, ok := errors.AsType[sqlState](err)
	if !ok {
		return false
	}
	switch state.SQLState() {
	case "0A000": // "feature not supported", of which only this one passes
		return strings.Contains(state.Error(), "cached plan must not change result type")
	case "26000", // the prepared statement is gone: DISCARD ALL, or another session behind a pooler
		"40001", "40P01": // could not serialize, deadlock
		return true
	}
	return false
}

// isAway tells whether a database could not be reached, or does not work for
// anybody: it has not answered, it starts or stops, or it has no connection left.
func isAway(err error) bool {
	state, ok := errors.AsType[sqlState](err)
	if !ok {
		return true
	}
	code := state.SQLState()
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "53") || strings.HasPrefix(code, "57P")
}
