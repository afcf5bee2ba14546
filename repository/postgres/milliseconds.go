package postgres

import (
	"strconv"
	"time"
)

// Milliseconds is a duration as the server's settings take it.
func Milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
