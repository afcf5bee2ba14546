package traffic

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/domain"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make(Durations, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, test := range []struct {
		of      Durations
		q, want float64
	}{
		{nil, .5, 0},
		{Durations{7}, .5, 7},
		{Durations{7}, .99, 7},
		{Durations{7}, 1, 7},
		{Durations{1, 2}, .5, 1},
		{Durations{1, 2, 3}, .5, 2},
		{Durations{1, 2, 3}, .99, 3},
		{hundred, .5, 50},
		{hundred, .95, 95},
		{hundred, .99, 99},
		{hundred, 1, 100},
	} {
		if got := test.of.quantile(test.q); got != test.want {
			t.Errorf("quantile %v of %d values is %v, want %v", test.q, len(test.of), got, test.want)
		}
	}
}

func TestStopwatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewStopwatch()
		begun := time.Now()
		early, late := domain.ID{1}, domain.ID{2}
		// The relay may know of a commit before the producer does.
		s.Enqueued(early, begun)
		s.Committed(early, begun.Add(time.Millisecond))
		s.Committed(late, begun)
		s.Enqueued(late, begun.Add(3*time.Millisecond))
		s.Enqueued(late, begun.Add(time.Hour)) // a repeat
		go func() {
			time.Sleep(5 * time.Millisecond)
			s.Started(early)
			s.Effected(early, begun.Add(8*time.Millisecond))
			time.Sleep(5 * time.Millisecond)
			s.Started(late)
			s.Started(late)
			time.Sleep(time.Millisecond)
			s.Effected(late, time.Now())
		}()
		got, err := s.Results(t.Context())
		want := Passages{Enqueued: Durations{0, 3}, Started: Durations{4, 10}, Effected: Durations{7, 11}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("the events took %v ms, want %v, %v", got, want, err)
		}
		synctest.Wait()
		s = NewStopwatch()
		s.Committed(early, begun)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Results(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("of an event that never arrives, with an impatient caller: %v", err)
		}
		if _, err := s.Results(t.Context()); err == nil {
			t.Error("an event that never arrives is no error")
		}
	})
}
