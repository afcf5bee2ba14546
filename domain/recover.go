package domain

import (
	"fmt"
	"runtime/debug"
)

// Recovered calls the given function and returns its error. If the function panics, Recovered returns an error
// that begins with the given text and ends with the stack.
func Recovered(what string, work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %v\n%s", what, p, debug.Stack())
		}
	}()
	return work()
}
