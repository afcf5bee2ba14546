package rival

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"outboxd/app/bench/env"
	"outboxd/client"
)

// Effects is an upper bound for everything that commits each effect in its own
// transaction. Effects has no queue and no events: AtOnce connections commit
// transactions that write one effect and one inbox row. The inbox of Effects is a
// table of its own, without triggers.
type Effects struct {
	Env    *env.Env
	Effect string // the statement; $1 is the event's ID
	AtOnce int
	Done   func() // called after each commit, by several goroutines
}

// effectsInbox is the inbox of the loop.
const effectsInbox = "bench_inbox"

// Prepare makes the table. Call it before the measurement begins.
func (l *Effects) Prepare(ctx context.Context) error {
	_, err := l.Env.Admin.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+effectsInbox+" (LIKE inbox INCLUDING ALL)")
	if err != nil {
		return fmt.Errorf("make the loop's inbox: %w", err)
	}
	return nil
}

// Run commits n effects.
func (l *Effects) Run(ctx context.Context, n int) error {
	var begun atomic.Int64
	running, ctx := errgroup.WithContext(ctx)
	for range l.AtOnce {
		running.Go(func() error {
			conn, err := l.Env.Admin.Acquire(ctx)
			if err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			defer conn.Release()
			for begun.Add(1) <= int64(n) {
				if err := l.once(ctx, conn.Conn()); err != nil {
					return err
				}
				l.Done()
			}
			return nil
		})
	}
	return running.Wait()
}

// once is three round trips: BEGIN, both rows, COMMIT.
func (l *Effects) once(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	id := [16]byte(client.NewID())
	var rows pgx.Batch
	rows.Queue("INSERT INTO "+effectsInbox+" (event_id) VALUES ($1)", id)
	rows.Queue(l.Effect, id)
	if err := tx.SendBatch(ctx, &rows).Close(); err != nil {
		return fmt.Errorf("write an effect: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit an effect: %w", err)
	}
	return nil
}

// Taken returns how many events have taken effect: the number of rows in the
// loop's inbox.
func (l *Effects) Taken(ctx context.Context) (n int, err error) {
	err = l.Env.Admin.QueryRow(ctx, "SELECT count(*) FROM "+effectsInbox).Scan(&n)
	return n, err
}
