package bench

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// Horizon compares draining with and without an old snapshot held open.
func Horizon() Bench {
	return Bench{
		Name:  "horizon",
		Short: "What an old snapshot, such as a long report's, does to the drain",
		Long: `A transaction that stays open keeps PostgreSQL from clearing away rows that were deleted after it began. A
claim that starts at the beginning of the index then steps over ever more of them. This drains a backlog
with and without such a transaction, by outboxd and by the bare loop of "bench drain", made to claim as the
textbook does: without a cursor, though by 500 and not by ten, which would take minutes.

The ratio "snapshot" is outboxd's rate with the snapshot divided by its rate without; "textbook_snapshot" is
the same of the other.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			d := &drainFlags{}
			d.add(flags)
			d.addEvents(flags, 200_000)
			return d.horizon
		},
	}
}

func (d *drainFlags) horizon(ctx context.Context, e *env.Env) (*result.Report, error) {
	report, err := d.begin(ctx, e, "horizon")
	if err != nil {
		return nil, err
	}
	byRelay := func(ctx context.Context) (result.Measurement, error) { return drainRelay(ctx, e, d.events, nil) }
	byTextbook := func(ctx context.Context) (result.Measurement, error) { return drainBare(ctx, e, d.events, false) }
	without, with := d.arm(e, "outboxd", byRelay), d.besideSnapshot(e, "outboxd, old snapshot", byRelay)
	textWithout, textWith := d.arm(e, "textbook claim", byTextbook), d.besideSnapshot(e, "textbook claim, old snapshot", byTextbook)
	if err := report.Compare(ctx, e.Reset, d.rounds, without, with, textWithout, textWith); err != nil {
		return nil, err
	}
	report.Ratio("snapshot", with, without)
	report.Ratio("textbook_snapshot", textWith, textWithout)
	return report, nil
}

// besideSnapshot returns an arm like drainFlags.arm, but a snapshot from before the
// load stays open during the drain.
func (d *drainFlags) besideSnapshot(e *env.Env, name string, drain func(context.Context) (result.Measurement, error)) *result.Contender {
	loaded := d.arm(e, name, drain)
	return &result.Contender{Name: name, Run: func(ctx context.Context) (result.Measurement, error) {
		release, err := holdSnapshot(ctx, e)
		if err != nil {
			return result.Measurement{}, err
		}
		defer release()
		return loaded.Run(ctx)
	}}
}

// holdSnapshot takes a snapshot of the database now, and keeps it open until
// release is called.
func holdSnapshot(ctx context.Context, e *env.Env) (release func(), err error) {
	tx, err := e.Admin.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }
	// Switch off the server's limit for idle transactions. PostgreSQL takes the
	// snapshot at the first query of a transaction and not at BEGIN.
	if _, err = tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err == nil {
		_, err = tx.Exec(ctx, "SELECT FROM outbox LIMIT 1")
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	return release, nil
}
