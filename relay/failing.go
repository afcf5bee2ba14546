package relay

import (
	"context"
	"log/slog"
	"sync"

	"outboxd/domain"
)

// failing tells everybody, through the database, what the leader fails at. It
// is safe for concurrent use.
type failing struct {
	store domain.Housekeeping
	log   *slog.Logger

	mu    sync.Mutex
	known map[string]string
}

// begin forgets what a leader before failed at.
func (f *failing) begin(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = map[string]string{}
	f.record(ctx, "", nil)
}

// note says how a part of the work ended. Only a change costs anything.
func (f *failing) note(ctx context.Context, work string, err error) {
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if f.known[work] != text && f.record(ctx, work, err) {
		f.known[work] = text
	}
}

func (f *failing) record(ctx context.Context, work string, cause error) bool {
	err := f.store.Failing(ctx, work, cause)
	if err != nil && ctx.Err() == nil {
		f.log.Debug("could not record what fails", "work", work, "error", err)
	}
	return err == nil
}
