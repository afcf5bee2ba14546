package search

import "time"

// How many events of each table one step of a search or of a count reads. The first step is
// small, because few events are usually enough to fill a page.
const (
	firstStep    = 500
	longestStep  = 10_000
	shortestStep = 100
)

// nextStep returns how many events of each table the next step reads, so that it fits into
// half of the time that is left; 0 if there is no time for a step. The parameter step is
// how many events of each table the last step read, and took is how long that took. How
// long an event takes depends on the filter: reading a field of the payload takes far
// longer than comparing a type.
func nextStep(step int, took, left time.Duration) int {
	fits := int64(step) * int64(left) / (2 * int64(max(took, 1)))
	if fits < shortestStep {
		return 0
	}
	return int(min(fits, longestStep))
}
