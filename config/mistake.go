package config

// Mistake marks an error in the command line, a variable or the file. Trying again is
// of no use: a person has to change something.
type Mistake struct{ Err error }

// Error implements error.
func (m Mistake) Error() string { return m.Err.Error() }

// Unwrap returns what is wrong.
func (m Mistake) Unwrap() error { return m.Err }
