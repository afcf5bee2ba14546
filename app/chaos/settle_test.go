package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"outboxd/domain"
)

// patience is how long nothing may move before a run is given up.
const patience = 2 * time.Minute

// settle lets everything come to rest without faults, stops it, and counts.
func (r *run) settle(ctx context.Context) error {
	begun := time.Now()
	// A producer with a number of events to write ends by itself.
	if r.o.Events > 0 {
		if err := r.await(ctx, "the producers are done", func(context.Context) (bool, error) { return finished(r.fleet.producers), nil }); err != nil {
			return err
		}
	}
	if err := stop(ctx, r.fleet.producers); err != nil {
		return err
	}
	if err := r.await(ctx, "what Redis has lost is sent again", r.healed); err != nil {
		return err
	}
	if r.o.Leaving {
		if err := r.await(ctx, "the outbox is empty", r.drained); err != nil {
			return err
		}
		if err := stop(ctx, slices.Concat(r.fleet.relays, r.fleet.workers)); err != nil {
			return err
		}
		first, err := r.count(ctx)
		if err != nil {
			return err
		}
		r.report.First = first
		r.o.Say("before the workers are back: %s", r.report.First)
		start(r.fleet.relays)
	}
	if err := r.finishTasks(ctx); err != nil {
		return err
	}
	if err := r.await(ctx, "the outbox is empty", r.drained); err != nil {
		return err
	}
	if r.o.Workers > 0 {
		if err := r.await(ctx, "what was deleted in Redis is missed and sent again", r.confirmed); err != nil {
			return err
		}
	}
	r.report.Settled = time.Since(begun)
	if err := stop(ctx, slices.Concat(r.fleet.relays, r.fleet.workers)); err != nil {
		return err
	}
	last, err := r.count(ctx)
	r.report.Last = last
	if err != nil {
		return err
	}
	r.report.Account, err = verify(ctx, r.o)
	return err
}

// healed reports whether the relays remember Redis as it is now: they do once
// everything that it has lost is in the outbox again.
func (r *run) healed(ctx context.Context) (healed bool, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		var name, runID, canary string
		err := r.admin.QueryRow(ctx, "SELECT name, run_id, canary FROM outbox_queue_identity").Scan(&name, &runID, &canary)
		if err != nil {
			return fmt.Errorf("look at what the relays remember: %w", err)
		}
		now, err := r.queue.runID(ctx)
		if err != nil {
			return err
		}
		there, err := r.queue.canary(ctx, name)
		healed = canary != "" && canary == there && runID == now
		return err
	})
	return healed, err
}

// unfinished returns how many tasks have to run whose events have not taken effect. It
// does not count the other tasks, because one of them may stay for ever: an active task
// that took effect before its worker was killed, and whose lease was deleted.
func (r *run) unfinished(ctx context.Context) (n int, err error) {
	var ids [][16]byte
	err = r.queue.tasks(ctx, func(taskID string) {
		if id, err := domain.EventID(taskID); err == nil {
			ids = append(ids, id)
		}
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	err = patiently(ctx, func(ctx context.Context) error {
		return r.admin.QueryRow(ctx, "SELECT count(*) FROM unnest($1::uuid[]) AS task (id) WHERE id NOT IN (SELECT event_id FROM inbox)", ids).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("look at what took effect: %w", err)
	}
	return n, nil
}

// Dead letters are not waited for: the final count includes them.
const confirmedSQL = `
SELECT NOT EXISTS (
    SELECT FROM outbox_sent s WHERE event_type IN ('` + taskType + `', '` + fanType + `', '` + elsewhereType + `')
        AND NOT EXISTS (SELECT FROM inbox WHERE event_id = s.id) AND NOT EXISTS (SELECT FROM outbox_dead d WHERE d.id = s.id))`

// confirmed reports whether everything that the history has took effect or is a dead letter.
func (r *run) confirmed(ctx context.Context) (all bool, err error) {
	err = patiently(ctx, func(ctx context.Context) error { return r.admin.QueryRow(ctx, confirmedSQL).Scan(&all) })
	if err != nil {
		return false, fmt.Errorf("look at what is not confirmed: %w", err)
	}
	return all, nil
}

func (r *run) count(ctx context.Context) (*Verdict, error) {
	var journals []string
	for i := range r.fleet.producers {
		journals = append(journals, journalPath(r.o.Folder, i))
	}
	return count(ctx, books{r.admin, r.elsewhere, r.queue, r.receivers}, journals)
}

// finishTasks lets the workers do what is left. Asynq takes a task from a killed worker after one
// to two minutes. A worker that starts looks at once, but only at leases that ended half a minute
// ago or earlier. So finishTasks ends the leases, and starts the workers again.
func (r *run) finishTasks(ctx context.Context) error {
	if r.o.Workers == 0 {
		return nil
	}
	if err := stop(ctx, r.fleet.workers); err != nil {
		return err
	}
	if err := r.queue.hurry(ctx); err != nil {
		return fmt.Errorf("let Asynq's time pass: %w", err)
	}
	start(r.fleet.workers)
	return r.await(ctx, "no task is left", func(ctx context.Context) (bool, error) {
		drained, err := r.drained(ctx)
		if err != nil || !drained {
			return false, err
		}
		left, err := r.unfinished(ctx)
		if err == nil && left > 0 {
			err = r.queue.antedate(ctx, "retry", time.Now().Add(-time.Second))
		}
		return left == 0, err
	})
}

var errStuck = errors.New("nothing has moved for a long time")

// await waits until a condition holds. It gives up when there has been no progress for the time
// patience.
func (r *run) await(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	last, moved := "", time.Now()
	for {
		done, err := holds(ctx)
		if err == nil && !done {
			err = r.fleet.health()
		}
		if err != nil || done {
			return err
		}
		now, err := r.progress(ctx)
		if err != nil {
			return err
		}
		if now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("wait until %s: %w (%s)", what, errStuck, now)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w (%s)", what, ctx.Err(), now)
		case <-look.C:
		}
	}
}

// progress returns the numbers of waiting events, tasks and written events, as a text
// that changes while anything moves.
func (r *run) progress(ctx context.Context) (text string, err error) {
	var tasks int64
	err = patiently(ctx, func(ctx context.Context) error {
		tasks, err = r.queue.length(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	var waiting, written int
	err = patiently(ctx, func(ctx context.Context) error {
		return r.admin.QueryRow(ctx, "SELECT (SELECT count(*) FROM outbox), (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relid = 'chaos.ledger'::regclass)").Scan(&waiting, &written)
	})
	if err != nil {
		return "", fmt.Errorf("look at what waits: %w", err)
	}
	return fmt.Sprintf("%d events in the outbox, %d tasks in Redis, %d written", waiting, tasks, written), nil
}
