package lead

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"outboxd/domain"
)

// failures keeps what is recorded of one duty.
type failures struct {
	domain.Housekeeping
	cause error
}

func (f *failures) Failing(_ context.Context, _ string, cause error) error {
	f.cause = cause
	return nil
}

// The function notes returns a failing, the store in which it records, and a function that reports whether the metric
// says that the healer's duty fails.
func notes(t *testing.T, unusable bool) (f *failing, store *failures, fails func() bool) {
	t.Helper()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "failing", Help: "By duty."}, []string{"duty"})
	store = &failures{}
	f = newFailing(store, gauge, func() bool { return unusable }, slog.New(slog.DiscardHandler))
	f.begin(t.Context())
	return f, store, func() bool { return testutil.ToFloat64(gauge.WithLabelValues(string(dutyHeal))) == 1 }
}

var (
	away    = domain.Errorf(domain.CodeUnavailable, "the queue is unavailable")
	refused = &domain.Error{Code: domain.CodeUnavailable, Message: "the queue is unavailable", Finding: &domain.Finding{Code: "redis-rights"}}
	loading = &domain.Error{Code: domain.CodeUnavailable, Message: "the queue is unavailable", Finding: &domain.Finding{Code: "redis-loading", Outage: true}}
	late    = &domain.Error{Code: domain.CodeUnavailable, Message: "the queue is unavailable", Finding: &domain.Finding{Code: domain.CodeRedisUnreachable}}
	fault   = &pgconn.PgError{Code: "P0001"}
)

// An outage that the relay has noticed is no failure of a duty, and does not end one either.
func TestAnOutageIsNoFailureOfADuty(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err             error
		unusable, fails bool
	}{
		"an outage":                            {away, true, false},
		"an outage that is not noticed":        {away, false, true},
		"Redis loads its data":                 {loading, false, false},
		"Redis is always late for this duty":   {late, false, true},
		"Redis is late in an outage":           {late, true, false},
		"Redis refuses a right":                {refused, false, true},
		"a fault of PostgreSQL, Redis loads":   {errors.Join(loading, fault), false, true},
		"a fault of PostgreSQL":                {fault, false, true},
		"a fault of PostgreSQL, and an outage": {errors.Join(away, fault), true, true},
		"a statement takes too long":           {domain.Wrap(domain.CodeUnavailable, &pgconn.PgError{Code: "57014"}, "the database is unavailable"), true, true},
		"another error":                        {errors.New("broken"), true, true},
	} {
		f, store, fails := notes(t, c.unusable)
		f.note(t.Context(), dutyHeal, c.err)
		if fails() != c.fails || (store.cause != nil) != c.fails {
			t.Errorf("%s: the metric says %t, and recorded is %v", name, fails(), store.cause)
		}
		f.note(t.Context(), dutyHeal, fault)
		f.note(t.Context(), dutyHeal, c.err)
		if !fails() || store.cause == nil {
			t.Errorf("%s ends a failure", name)
		}
		if f.note(t.Context(), dutyHeal, nil); fails() || store.cause != nil {
			t.Errorf("%s: a success does not end the failure", name)
		}
	}
}

// If Redis cannot be reached, healing does not fail, not even before the relay has noticed the outage. It fails if
// Redis refuses what only the healer needs.
func TestAnOutageOfRedisIsNoFailureOfHealing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		fails bool
	}{
		"Redis is away":          {queueError{away}, false},
		"Redis loads its data":   {queueError{loading}, false},
		"Redis is late":          {queueError{late}, false},
		"Redis refuses a right":  {queueError{refused}, true},
		"the database is slow":   {away, true},
		"a fault of PostgreSQL":  {fault, true},
		"both":                   {errors.Join(fault, queueError{away}), true},
		"another fault of Redis": {queueError{errors.New("broken")}, true},
	} {
		f, _, fails := notes(t, false)
		h := &healer{failing: f, log: slog.New(slog.DiscardHandler), paused: func() bool { return false }}
		h.report(t.Context(), c.err)
		if fails() != c.fails {
			t.Errorf("%s: the metric says %t, want %t", name, fails(), c.fails)
		}
	}
}
