package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"outboxd/domain"
	"outboxd/migrations"
)

const (
	healthyAfter = time.Minute // running this long forgives earlier failures
	giveUpAfter  = 10          // failures in a row
)

// supervise calls the function run, and calls it again when it fails or panics.
// supervise returns nil if the function returns nil, or if ctx ends. It returns an error
// if a restart cannot help (see isPermanent), if the function failed ten times in a row, or
// if it failed after ctx had ended, for example because it could not finish its work.
func supervise(ctx context.Context, name string, log *slog.Logger, run func(context.Context) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.Multiplier, pause.MaxInterval = 500*time.Millisecond, 2, 30*time.Second
	for failures := 0; ; {
		begun := time.Now()
		err := domain.Recovered("panic", func() error { return run(ctx) })
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return fmt.Errorf("%s failed while it was stopped: %w", name, err)
		}
		if isPermanent(err) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if time.Since(begun) >= healthyAfter {
			failures = 0
			pause.Reset()
		}
		if failures++; failures >= giveUpAfter {
			return fmt.Errorf("%s failed %d times in a row: %w", name, failures, err)
		}
		again := pause.NextBackOff()
		log.Error(name+" failed and is started again", "failures", failures, "again_in", again.Round(time.Millisecond), "error", err)
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// isPermanent reports whether a restart does not help against an error, such as a bad
// configuration or pending migrations.
func isPermanent(err error) bool {
	return domain.ErrorCode(err) == domain.CodeInvalid || errors.Is(err, migrations.ErrPending)
}
