package upkeep

import (
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/search"
)

// EntriesLimit is how many of the account's entries a measurement counts at most.
const EntriesLimit = entriesLimit

// MeasureStatement is the measurement for /metrics, with its parameters.
func MeasureStatement() map[string][]any {
	return map[string][]any{
		"measurement": {measureSQL, nil, lives.HeldKeysCounted, search.CountLimit, [16]byte{1}, entriesLimit, domain.ChoresAhead.Seconds(), 0},
	}
}

// MeasureTypesStatement is the measurement by type and queue, with its parameters.
func MeasureTypesStatement() map[string][]any {
	return map[string][]any{"types": {measureTypesSQL, []string{"default"}, []int64{1}}}
}

// WithLeaderTerms shortens the time after which a silent leader is replaced.
func (h *Housekeeping) WithLeaderTerms(silence, word, retry time.Duration) *Housekeeping {
	h.terms = leaderTerms{silence: silence, word: word, retry: retry}
	return h
}
