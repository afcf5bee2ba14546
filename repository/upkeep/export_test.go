package upkeep

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/search"
)

// EntriesLimit is how many of the account's entries a measurement counts at most.
const EntriesLimit = entriesLimit

// MeasureStatement returns the statement of Measure, with its parameters.
func MeasureStatement() map[string][]any {
	return map[string][]any{
		"measurement": {measureSQL, nil, lives.HeldKeysCounted, search.CountLimit, [16]byte{1}, entriesLimit, domain.ChoresAhead.Seconds(), 0},
	}
}

// MeasureTypesStatement returns the statement of MeasureTypes, with its parameters.
func MeasureTypesStatement() map[string][]any {
	return map[string][]any{"types": {measureTypesSQL, []string{"default"}, []int64{1}, 10_000, 4_000}}
}

// MeasureSpan is one statement of MeasureTypes, with its limits.
func (h *Housekeeping) MeasureSpan(ctx context.Context, read, lookedUp int) (more bool, err error) {
	return h.measureSpan(ctx, []string{"default"}, []int64{1}, read, lookedUp)
}

// WithLeaderTerms sets the times of the leadership, so that a silent leader is replaced
// sooner.
func (h *Housekeeping) WithLeaderTerms(silence, word, retry time.Duration) *Housekeeping {
	h.terms = leaderTerms{silence: silence, word: word, retry: retry}
	return h
}
