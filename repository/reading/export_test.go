package reading

import "time"

// LookEvery makes r look at its standby more often.
func (r *Reads) LookEvery(interval time.Duration) *Reads {
	r.every = interval
	return r
}
