package config

// Mistake marks an error in the command line, in an environment variable or in the
// configuration file. Running the command again does not help: a person has to
// correct the mistake.
type Mistake struct{ Err error }

// Error implements error.
func (m Mistake) Error() string { return m.Err.Error() }

// Unwrap returns what is wrong.
func (m Mistake) Unwrap() error { return m.Err }
