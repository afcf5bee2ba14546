package bench

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/pflag"
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

func (d *drainFlags) horizon(ctx context.Context, e *Env) (*Report, error) {
	if err := d.apply(e); err != nil {
		return nil, err
	}
	if d.events < 1 {
		return nil, fmt.Errorf("--events has to be at least 1")
	}
	report, err := e.NewReport(ctx, "horizon")
	if err != nil {
		return nil, err
	}
	report.Environment["events"], report.Environment["payload_bytes"] = fmt.Sprint(d.events), fmt.Sprint(d.payload)
	byRelay := func(ctx context.Context) (measurement, error) { return e.drainRelay(ctx, d.events) }
	byTextbook := func(ctx context.Context) (measurement, error) { return e.drainBare(ctx, d.events, false) }
	arm := func(name string, old bool, drain func(context.Context) (measurement, error)) *contender {
		return &contender{name: name, run: func(ctx context.Context) (measurement, error) { return d.beside(ctx, e, old, drain) }}
	}
	without, with := arm("outboxd", false, byRelay), arm("outboxd, old snapshot", true, byRelay)
	textWithout, textWith := arm("textbook claim", false, byTextbook), arm("textbook claim, old snapshot", true, byTextbook)
	if err := e.interleave(ctx, d.rounds, without, with, textWithout, textWith); err != nil {
		return nil, err
	}
	report.Arms = []Arm{without.arm(), with.arm(), textWithout.arm(), textWith.arm()}
	report.Ratios["snapshot"] = ratio(with.rate(), without.rate())
	report.Ratios["textbook_snapshot"] = ratio(textWith.rate(), textWithout.rate())
	return report, nil
}

// beside loads and drains, beside a snapshot from before the load if old says
// so.
func (d *drainFlags) beside(ctx context.Context, e *Env, old bool, drain func(context.Context) (measurement, error)) (measurement, error) {
	if old {
		release, err := e.holdSnapshot(ctx)
		if err != nil {
			return measurement{}, err
		}
		defer release()
	}
	if err := e.Load(ctx, d.events, d.payload); err != nil {
		return measurement{}, err
	}
	return drain(ctx)
}

// holdSnapshot keeps a snapshot of this moment until release is called.
func (e *Env) holdSnapshot(ctx context.Context) (release func(), err error) {
	tx, err := e.Admin.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }
	// The server may end idle transactions; and only a query takes the snapshot.
	if _, err = tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err == nil {
		_, err = tx.Exec(ctx, "SELECT FROM outbox LIMIT 1")
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	return release, nil
}
