package postgres

import (
	"strconv"
	"time"
)

// Milliseconds returns a duration as the value of a PostgreSQL setting: a number of
// milliseconds.
func Milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
