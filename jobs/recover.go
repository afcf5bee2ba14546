package jobs

import (
	"fmt"
	"runtime/debug"
)

// recovered turns a panic of work into an error with its stack, so that the
// transaction around it is rolled back like after any other error.
func recovered(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return work()
}
