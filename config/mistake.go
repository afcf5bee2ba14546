package config

// Mistake marks an error of the command line, a variable or the file: the person at the
// keyboard has to change it, and trying again is of no use.
type Mistake struct{ Err error }

// Error implements error.
func (m Mistake) Error() string { return m.Err.Error() }

// Unwrap returns what is wrong.
func (m Mistake) Unwrap() error { return m.Err }
