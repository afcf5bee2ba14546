package postgres

import (
	"strconv"
	"time"
)

// Milliseconds writes a duration as a setting of the server.
func Milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
