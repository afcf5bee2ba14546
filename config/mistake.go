package config

// Mistake marks an error in the command line, in an environment variable or in the
// configuration file. A retry does not help: a person has to correct it.
type Mistake struct{ Err error }

// Error implements error.
func (m Mistake) Error() string { return m.Err.Error() }

// Unwrap returns what is wrong.
func (m Mistake) Unwrap() error { return m.Err }
