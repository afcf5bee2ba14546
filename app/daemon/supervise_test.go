package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/domain"
	"outboxd/migrations"
)

var errFlaky = errors.New("flaky")

// attempts lets supervise call the function run, and tells this function how often it was called before. attempts
// returns when each call began, and what supervise returned.
func attempts(ctx context.Context, log *slog.Logger, run func(ctx context.Context, before int) error) (begun []time.Time, err error) {
	err = supervise(ctx, "the poller", log, func(ctx context.Context) error {
		begun = append(begun, time.Now())
		return run(ctx, len(begun)-1)
	})
	return begun, err
}

func TestSuperviseStartsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		begun, err := attempts(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(ctx context.Context, before int) error {
			switch before {
			case 0:
				return errFlaky
			case 1:
				panic("out of range")
			default:
				time.AfterFunc(time.Second, stop)
				<-ctx.Done()
				return fmt.Errorf("wait: %w", ctx.Err())
			}
		})
		if err != nil || len(begun) != 3 {
			t.Errorf("got %v after %d attempts, want nil after 3", err, len(begun))
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "flaky") || !strings.Contains(lines[0], "the poller failed") {
			t.Fatalf("want one line for each failure:\n%s", log.String())
		}
		if !strings.Contains(lines[1], "panic: out of range") || !strings.Contains(lines[1], "supervise_test.go") {
			t.Errorf("the panic's line lacks its value or its stack:\n%s", lines[1])
		}
	})
}

func TestSuperviseGivesUpAfterTenFailuresInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, err := attempts(t.Context(), slog.New(slog.DiscardHandler), func(context.Context, int) error { return errFlaky })
		if !errors.Is(err, errFlaky) || !strings.Contains(err.Error(), "the poller failed 10 times in a row") {
			t.Errorf("got %v, want the last error, and the number", err)
		}
		if len(begun) != 10 {
			t.Fatalf("made %d attempts, want 10", len(begun))
		}
		nominal := 500 * time.Millisecond
		for i := 1; i < len(begun); i++ {
			if pause := begun[i].Sub(begun[i-1]); pause < nominal/2 || pause > nominal*3/2 {
				t.Errorf("pause %d lasted %v, want %v give or take a half", i, pause, nominal)
			}
			nominal = min(2*nominal, 30*time.Second)
		}
	})
}

func TestSuperviseForgivesAfterAHealthyMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, err := attempts(t.Context(), slog.New(slog.DiscardHandler), func(_ context.Context, before int) error {
			if before%9 == 8 && before < 30 {
				<-time.After(time.Minute) // the ninth of each row runs long enough
			}
			return errFlaky
		})
		// Attempts 9, 18 and 27 run for a minute, so each of their failures is the first of a new row.
		// The row that begins with attempt 27 has ten failures at attempt 36.
		if !errors.Is(err, errFlaky) || len(begun) != 3*9+9 {
			t.Errorf("got %v after %d attempts, want the error after %d", err, len(begun), 3*9+9)
		}
		if pause := begun[9].Sub(begun[8]) - time.Minute; pause > 750*time.Millisecond {
			t.Errorf("the pause after a healthy minute was %v, want the shortest", pause)
		}
	})
}

func TestSuperviseDoesNotForgiveLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, err := attempts(t.Context(), slog.New(slog.DiscardHandler), func(context.Context, int) error {
			<-time.After(time.Minute - time.Millisecond)
			return errFlaky
		})
		if !errors.Is(err, errFlaky) || len(begun) != 10 {
			t.Errorf("got %v after %d attempts, want the error after 10", err, len(begun))
		}
	})
}

func TestSuperviseEndsAtOnceForWhatNoRestartMends(t *testing.T) {
	t.Parallel()
	for _, permanent := range []error{
		domain.Errorf(domain.CodeInvalid, "the queue name is empty"),
		fmt.Errorf("claim: %w", domain.Wrap(domain.CodeInvalid, errFlaky, "no such column")),
		fmt.Errorf("start: %w", migrations.ErrPending),
	} {
		synctest.Test(t, func(t *testing.T) {
			begun, err := attempts(t.Context(), slog.New(slog.DiscardHandler), func(context.Context, int) error { return permanent })
			if !errors.Is(err, permanent) || !strings.HasPrefix(err.Error(), "the poller: ") || len(begun) != 1 {
				t.Errorf("%v: got %v after %d attempts, want it after one, with the name", permanent, err, len(begun))
			}
		})
	}
}

func TestSuperviseTakesNoNoteOfTheEnd(t *testing.T) {
	t.Parallel()
	t.Run("while running", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			ctx, stop := context.WithCancel(t.Context())
			time.AfterFunc(time.Hour, stop)
			_, err := attempts(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(ctx context.Context, _ int) error {
				<-ctx.Done()
				return ctx.Err()
			})
			if err != nil || log.Len() > 0 {
				t.Errorf("got %v and log %q, want neither", err, log.String())
			}
		})
	})
	t.Run("while pausing", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, stop)
			begun, err := attempts(ctx, slog.New(slog.DiscardHandler), func(context.Context, int) error { return errFlaky })
			if passed := time.Since(begun[0]); err != nil || len(begun) != 1 || passed != 100*time.Millisecond {
				t.Errorf("got %v after %d attempts and %v, want nil after one and 100ms", err, len(begun), passed)
			}
		})
	})
}

// What could not finish its work must not end as if it had.
func TestSuperviseReturnsAFailureAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		begun, err := attempts(ctx, slog.New(slog.DiscardHandler), func(ctx context.Context, _ int) error {
			<-ctx.Done()
			panic("while draining")
		})
		if err == nil || !strings.Contains(err.Error(), "the poller failed while it was stopped: panic: while draining") || len(begun) != 1 {
			t.Errorf("got %v after %d attempts, want the panic after one", err, len(begun))
		}
	})
}
