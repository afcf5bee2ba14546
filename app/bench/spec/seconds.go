package spec

import "time"

// Seconds returns the duration that a flag gives as a number of seconds.
func Seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
