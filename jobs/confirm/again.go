package confirm

import (
	"context"
	"errors"
	"reflect"

	"github.com/hibiken/asynq"
)

// mostTries bounds how often one attempt of a task begins its transaction. After a change of a table every connection of the
// pool may have a plan that is of no use any more, and loses it by failing once.
const mostTries = 20

// again repeats a transaction that failed through no fault of the task's, at once: given back to Asynq, the task would
// be charged one of its attempts. Nothing of such a transaction has happened. What the handler does outside
// of it is repeated, as by every other attempt.
func again(handle asynq.HandlerFunc) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		for tries := 1; ; tries++ {
			err := handle(ctx, task)
			if err == nil || !isPassing(err) || tries == mostTries || ctx.Err() != nil {
				return err
			}
		}
	})
}

// isPassing tells whether PostgreSQL ended a transaction for a reason that is gone with it: somebody changed a table of
// which the session had a plan, or it lost against another transaction. Every driver's error has SQLState.
func isPassing(err error) bool {
	state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	if !ok {
		return false
	}
	switch state.SQLState() {
	case "0A000": // "feature not supported", of which only a plan that is out of date passes
		return raisedBy(state) == "RevalidateCachedQuery"
	case "26000", // the prepared statement is gone: DISCARD ALL, or another session behind a pooler
		"40001", "40P01": // could not serialize, deadlock
		return true
	}
	return false
}

// raisedBy returns the function of PostgreSQL that raised an error, which stays the same in every language that the
// server may speak (lc_messages). The errors of pgx and of lib/pq have it in a field of this name, and no method in common.
func raisedBy(err error) string {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return ""
	}
	if routine := v.FieldByName("Routine"); routine.IsValid() && routine.Kind() == reflect.String {
		return routine.String()
	}
	return ""
}
