package lead

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain/lost"
)

// emptied is a Redis that has lost its data, and the database that knows it. A redrive in
// it lasts until its context ends, if slow is true.
type emptied struct {
	lost.IdentifiedQueue
	lost.QueueMemory
	canary   string
	record   lost.QueueRecord
	slow     bool
	redrives int
	late     time.Duration // how long Redis needs to answer Identify
	anew     func() string // the canary that IdentifyAnew finds; nil: that of Redis
}

func (e *emptied) Identify(ctx context.Context, _ string) (lost.QueueIdentity, error) {
	select {
	case <-time.After(e.late):
	case <-ctx.Done():
		return lost.QueueIdentity{}, ctx.Err()
	}
	return lost.QueueIdentity{RunID: "run", Canary: e.canary}, nil
}

func (e *emptied) IdentifyAnew(ctx context.Context, name string) (lost.QueueIdentity, error) {
	if e.anew != nil {
		return lost.QueueIdentity{RunID: "run", Canary: e.anew()}, nil
	}
	return e.Identify(ctx, name)
}

func (e *emptied) Mark(_ context.Context, _, next string) error {
	e.canary = next
	return nil
}

func (e *emptied) Advance(_ context.Context, _, _, next string) (bool, error) {
	e.canary = next
	return true, nil
}

func (e *emptied) Renew() {}

func (e *emptied) Recall(ctx context.Context) (lost.QueueRecord, error) { return e.record, ctx.Err() }

func (e *emptied) Database(context.Context) (is lost.DatabaseIdentity, err error) { return is, nil }

func (e *emptied) RememberDatabase(context.Context, lost.DatabaseIdentity, time.Duration) error {
	return nil
}

func (e *emptied) BeginHeal(_ context.Context, _ lost.QueueIdentity, heal lost.Heal) error {
	e.record.Heal = heal
	return nil
}

func (e *emptied) Remember(_ context.Context, _, next lost.QueueIdentity, _ string) error {
	e.record.Identity, e.record.Heal = next, lost.Heal{}
	return nil
}

func (e *emptied) Redrive(ctx context.Context, _ lost.Redrive) (int64, error) {
	e.redrives++
	if e.slow {
		<-ctx.Done()
	}
	return 0, ctx.Err()
}

// A heal that was interrupted because the leadership ended is no failure. When the process
// leads again, it heals at once.
func TestAHealThatTheEndOfTheLeadershipInterruptedGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, store, fails := notes(t, false)
		redis := &emptied{record: lost.QueueRecord{Name: "test", Identity: lost.QueueIdentity{RunID: "run", Canary: "first"}}, slow: true}
		h := newHealer(Healing{Queue: redis, Memory: redis, CheckInterval: time.Second}, time.Hour, Relay{
			Logger: slog.New(slog.DiscardHandler), Unreachable: func() bool { return false }, HandedOver: func() int64 { return 0 },
		}, newMetrics(prometheus.NewRegistry()), f)
		lead := func(term time.Duration) {
			ctx, end := context.WithTimeout(t.Context(), term)
			defer end()
			h.run(ctx, func(ctx context.Context) error { return ctx.Err() })
		}
		lead(20 * time.Second)
		redis.slow = false
		lead(1500 * time.Millisecond)
		if redis.redrives != 2 || fails() || store.cause != nil {
			t.Errorf("%d redrives, want 2; recorded is %v", redis.redrives, store.cause)
		}
	})
}

// A loss that only one connection shows causes no heal. If new connections never agree, the healer heals at last.
func TestALossIsConfirmedOverANewConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrong int // so many checks find no canary
		every time.Duration
		want  int
	}{
		"once":                   {1, time.Second, 0},
		"for ever":               {1000, time.Second, 1},
		"once, checked rarely":   {1, time.Hour, 0},
		"for ever, checked late": {1000, time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, _, _ := notes(t, false)
				known := lost.QueueIdentity{RunID: "run", Canary: "first"}
				redis := &emptied{record: lost.QueueRecord{Name: "test", Identity: known}}
				wrong := c.wrong
				redis.anew = func() string {
					if wrong--; wrong == 0 {
						redis.canary = "first" // the faulty connection is gone
					}
					return "first"
				}
				h := newHealer(Healing{Queue: redis, Memory: redis, CheckInterval: c.every}, time.Hour, Relay{
					Logger: slog.New(slog.DiscardHandler), Unreachable: func() bool { return false }, HandedOver: func() int64 { return 0 },
				}, newMetrics(prometheus.NewRegistry()), f)
				ctx, end := context.WithTimeout(t.Context(), time.Minute)
				defer end()
				h.run(ctx, func(ctx context.Context) error { return ctx.Err() })
				if redis.redrives != c.want {
					t.Errorf("%d heals, want %d", redis.redrives, c.want)
				}
			})
		})
	}
}

// A Redis whose answers use up most of the time of a check is healed.
func TestASlowRedisIsHealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := notes(t, false)
		redis := &emptied{record: lost.QueueRecord{Name: "test", Identity: lost.QueueIdentity{RunID: "run", Canary: "first"}}, late: checkPatience * 3 / 4}
		h := newHealer(Healing{Queue: redis, Memory: redis, CheckInterval: time.Second}, time.Hour, Relay{
			Logger: slog.New(slog.DiscardHandler), Unreachable: func() bool { return false }, HandedOver: func() int64 { return 0 },
		}, newMetrics(prometheus.NewRegistry()), f)
		ctx, end := context.WithTimeout(t.Context(), 2*checkPatience)
		defer end()
		h.run(ctx, func(ctx context.Context) error { return ctx.Err() })
		if redis.redrives != 1 {
			t.Errorf("%d heals, want 1", redis.redrives)
		}
	})
}
