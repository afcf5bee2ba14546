package drains

import (
	"context"
	"fmt"
	"time"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/rival"
	"outboxd/relay"
)

// Relay drains the loaded events with outboxd's relay. The function change, if not nil, changes the
// relay's options. Relay fails if the counts afterwards do not fit the number of events; see
// checkMoved.
func Relay(ctx context.Context, e *env.Env, events int, change func(*relay.Options)) (result.Measurement, error) {
	measured, err := drainLoaded(ctx, e, events, change)
	if err != nil {
		return result.Measurement{}, err
	}
	return measured, checkMoved(ctx, e, events)
}

// drainLoaded drains the loaded events with outboxd's relay, and does not check what became of them.
func drainLoaded(ctx context.Context, e *env.Env, events int, change func(*relay.Options)) (result.Measurement, error) {
	e.Progress.Start("outboxd", int64(events))
	defer e.Progress.Done()
	r := e.NewRelay(change)
	record := result.NewRecorder(events)
	stop := e.RunRelay(ctx, r)
	err := e.WaitDelivered(ctx, int64(events), record.Reached)
	if err == nil {
		err = e.WaitDrained(ctx)
	}
	took := record.Elapsed()
	if stopped := stop(); err == nil {
		err = stopped
	}
	return result.Measurement{Rate: result.PerSecond(events, took), Curve: record.Curve()}, err
}

// drainBare drains the loaded events with the minimal loop of rival.Bare.
func drainBare(ctx context.Context, e *env.Env, events int, withCursor bool) (result.Measurement, error) {
	e.Progress.Start("bare loop", int64(events))
	defer e.Progress.Done()
	record := result.NewRecorder(events)
	loop := &rival.Bare{Env: e, WithCursor: withCursor, Moved: func(n int) {
		record.More(n)
		e.Progress.Add(int64(n))
	}}
	if err := loop.Run(ctx); err != nil {
		return result.Measurement{}, err
	}
	return result.Measurement{Rate: result.PerSecond(events, record.Elapsed()), Curve: record.Curve()}, checkMoved(ctx, e, events)
}

func drainTextbook(ctx context.Context, e *env.Env, events, payload int) (result.Measurement, error) {
	loop := &rival.Textbook{Env: e, Moved: func(n int) { e.Progress.Add(int64(n)) }}
	if err := loop.Load(ctx, events, payload); err != nil {
		return result.Measurement{}, err
	}
	e.Progress.Start("textbook", int64(events))
	defer e.Progress.Done()
	begun := time.Now()
	if err := loop.Run(ctx); err != nil {
		return result.Measurement{}, err
	}
	took := time.Since(begun)
	delivered, err := e.Delivered(ctx)
	if err == nil && delivered != int64(events) {
		err = fmt.Errorf("%d of %d events reached Redis", delivered, events)
	}
	return result.Measurement{Rate: result.PerSecond(events, took)}, err
}

// checkMoved fails unless Redis and the history (if the relay keeps one) have as many entries as
// there were events, and the outbox has none.
func checkMoved(ctx context.Context, e *env.Env, events int) error {
	delivered, err := e.Delivered(ctx)
	if err != nil {
		return err
	}
	var left, kept int64
	err = e.Admin.QueryRow(ctx, "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM outbox_sent)").Scan(&left, &kept)
	if err != nil {
		return fmt.Errorf("count the events: %w", err)
	}
	if e.Config.Relay.History == 0 {
		kept = int64(events)
	}
	if delivered != int64(events) || left != 0 || kept != int64(events) {
		return fmt.Errorf("of %d events %d are in Redis, %d in the history and %d left: the figure would mean nothing", events, delivered, kept, left)
	}
	return nil
}
