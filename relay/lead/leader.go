package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

// How often the leader does each duty, and how much of it at once.
const (
	measureEvery = 10 * time.Second
	keysEvery    = 30 * time.Second
	queuesEvery  = 30 * time.Second
	foldEvery    = time.Minute
	typesEvery   = time.Minute
	typesEarly   = 15 * time.Second // within the first minute, so that a person who tries outboxd out sees figures
	lookEvery    = time.Minute
	tidyEvery    = 10 * time.Minute
	trimBatch    = 10_000 // rows in one statement
	advanceBatch = 10_000 // ordering keys in one round
	// staleRelay is how long a relay may give no sign of life before its record is deleted. A relay gives a sign of
	// life every 15 s (relay/wakeup).
	staleRelay = time.Minute
)

// Leader does the work that one process does for all processes. If a duty fails, relaying continues: the leader
// reports the failure and tries again.
type Leader struct {
	duties  Duties
	process domain.RelayProcess
	log     *slog.Logger
	metrics *metrics
	failing *failing
	healer  *healer     // nil: losses of all data go unnoticed
	single  *reconciler // nil: losses of single tasks go unnoticed
	// archivist is nil if nobody looks for archived tasks.
	archivist *archivist
	key       string    // the ordering key at which the last round ended
	awaited   domain.ID // the awaited delivery at which it ended

	chores                  domain.Chores // which the last measurement reported
	tick, replayed, changed chan struct{} // ask the scheduler, the replayer and the changer to look

	cancelled, void removal // where the last deletions of tasks ended

	// unusable reports whether the relay has stopped using PostgreSQL or Redis because of an outage.
	unusable func() bool
}

// New returns a Leader. It starts nothing.
func New(d Duties, r Relay) *Leader {
	m := newMetrics(r.Registry)
	l := &Leader{
		duties: d, process: r.Process, log: r.Logger, metrics: m, unusable: r.Unusable, failing: newFailing(d.Housekeeping, m.failing, r.Unusable, r.Logger),
		tick: make(chan struct{}, 1), replayed: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	if d.Archives != nil {
		l.archivist = &archivist{o: *d.Archives, log: r.Logger, archived: m.archived}
	}
	if d.Healing != nil {
		l.healer = newHealer(*d.Healing, d.History, r, m, l.failing)
		if d.Reconciliation != nil {
			l.single = newReconciler(*d.Reconciliation, d.Healing.Unconfirmed, r.Logger, m, l.healer)
			l.single.archivist = l.archivist
		}
	}
	return l
}

// Look is called when the relay has lost or regained Redis, and asks the leader to check Redis for losses soon.
func (l *Leader) Look() {
	if l.healer != nil {
		pace.Raise(l.healer.look)
	}
}

// Run becomes the leader whenever no other relay is the leader, until ctx ends.
func (l *Leader) Run(ctx context.Context) error {
	for failures := 0; ; {
		begun := time.Now()
		err := l.duties.Housekeeping.Lead(ctx, l.keep)
		l.metrics.measured.forget()
		l.metrics.queues.forget()
		l.failing.end()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no failure
		}
		if time.Since(begun) > time.Minute {
			failures = 0
		}
		failures++
		pause := time.Second + pace.Backoff(time.Second, 30*time.Second, failures)
		if failures == 1 {
			l.log.Warn("cannot lead; relaying goes on", "retry_in", pause, "error", err)
		}
		pace.Wait(ctx, pause)
	}
}

func (l *Leader) keep(ctx context.Context, leads domain.StillLeads) error {
	l.log.Info("this process is the leader")
	l.failing.begin(ctx)
	if err := l.duties.Housekeeping.SayUnconfirmed(ctx, l.duties.Unconfirmed, l.duties.Outward); err != nil {
		return err
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	l.startBeside(ctx, leads, &beside)
	measure := time.NewTicker(measureEvery)
	defer measure.Stop()
	advance := time.NewTicker(keysEvery)
	defer advance.Stop()
	fold := time.NewTicker(foldEvery)
	defer fold.Stop()
	types := time.NewTicker(typesEvery)
	defer types.Stop()
	early := time.NewTicker(typesEarly)
	defer early.Stop()
	settled := time.After(typesEvery - typesEarly/2)
	queues := time.NewTicker(queuesEvery)
	defer queues.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	l.watchQueues(ctx)
	l.measure(ctx)
	l.advance(ctx) // the last leader may have died between two steps
	l.tidy(ctx)
	for {
		var step func(context.Context)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tidy.C:
			step = l.tidy
		case <-fold.C:
			step = l.fold
		case <-types.C:
			step = l.measureTypes
		case <-early.C:
			step = l.measureTypes
		case <-settled:
			early.Stop()
			continue
		case <-look.C:
			step = l.look
		case <-measure.C:
			step = l.measure
		case <-queues.C:
			step = l.watchQueues
		case <-advance.C:
			step = l.advance
		}
		if err := leads(ctx); err != nil {
			return err
		}
		step(ctx)
	}
}

// startBeside starts the parts that run in their own goroutines, because the other duties may take minutes. The
// parts end with ctx.
func (l *Leader) startBeside(ctx context.Context, leads domain.StillLeads, beside *sync.WaitGroup) {
	if l.healer != nil {
		beside.Go(func() { l.healer.run(ctx, leads) })
	}
	if l.single != nil {
		beside.Go(func() { l.single.run(ctx) })
	}
	if l.duties.Acknowledging != nil {
		acknowledger := &acknowledger{o: *l.duties.Acknowledging, log: l.log, failing: l.failing, paused: l.unusable}
		beside.Go(func() { acknowledger.run(ctx, leads) })
	}
	if l.duties.Replays != nil {
		replayer := &replayer{replays: l.duties.Replays, log: l.log, failing: l.failing, look: l.replayed}
		beside.Go(func() { replayer.run(ctx, leads) })
	}
	if l.duties.Changes != nil {
		changer := &changer{requests: l.duties.Changes, log: l.log, failing: l.failing, look: l.changed}
		beside.Go(func() { changer.run(ctx, leads) })
	}
	if l.duties.Schedules != nil {
		scheduler := &scheduler{schedules: l.duties.Schedules, log: l.log, failing: l.failing, metrics: l.metrics, look: l.tick}
		beside.Go(func() { scheduler.run(ctx, leads) })
	}
	if l.archivist != nil {
		beside.Go(func() { l.archivist.run(ctx, leads) })
	}
}

// measure reads the backlog and starts the chores that are due. If measuring fails, all chores are started. The
// metrics then keep the old figures, together with the time of their measurement.
func (l *Leader) measure(ctx context.Context) {
	backlog, chores, err := l.duties.Housekeeping.Measure(ctx, l.process, l.metrics.queues.waiting())
	l.failing.note(ctx, dutyMeasure, err)
	if err != nil {
		chores = domain.Chores{Tick: true, Remove: true, Replays: true, Changes: true} // nothing is known
	}
	l.chores = chores
	if chores.Tick {
		pace.Raise(l.tick)
	}
	if chores.Replays {
		pace.Raise(l.replayed)
	}
	if chores.Changes {
		pace.Raise(l.changed)
	}
	if err != nil {
		if ctx.Err() == nil {
			l.log.Warn("could not measure the backlog", "retry_in", measureEvery, "error", err)
		}
		return
	}
	l.metrics.measured.setBacklog(backlog, time.Now())
}

// look checks the state of the tables. If that fails, the metrics keep the old figures.
func (l *Leader) look(ctx context.Context) {
	upkeep, err := l.duties.Housekeeping.Upkeep(ctx, l.duties.History)
	l.failing.note(ctx, dutyUpkeep, err)
	if err != nil {
		if ctx.Err() == nil {
			l.log.Warn("could not check the state of the tables", "retry_in", lookEvery, "error", err)
		}
		return
	}
	l.metrics.measured.setUpkeep(upkeep)
}

// advance releases held events that no longer have to wait, and deletes the tasks of events that were taken back. A
// process that dies between two steps may leave held events behind, and only the leader notices them.
func (l *Leader) advance(ctx context.Context) {
	defer l.removeTasks(ctx)
	last, advanced, gone, err := l.duties.Housekeeping.AdvanceKeys(ctx, l.key, advanceBatch, l.duties.DeadHoldsKey)
	l.key = last
	if err == nil {
		err = l.passEnded(ctx, gone)
	}
	if err == nil {
		l.awaited, err = l.duties.Housekeeping.ConfirmDelivered(ctx, l.awaited, advanceBatch)
	}
	l.failing.note(ctx, dutyKeys, err)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("could not release held events", "retry_in", keysEvery, "error", err)
	}
	if advanced > 0 {
		l.log.Info("ordering keys that stood still go on", "turns_ended_and_events_released", advanced)
	}
}

// passEnded passes on the turns of events that were never confirmed and that neither the database nor Redis has any
// more. An event whose task still waits in Redis keeps its turn, even if its row in outbox_sent was dropped long
// ago.
func (l *Leader) passEnded(ctx context.Context, gone []domain.Event) error {
	if len(gone) == 0 || l.duties.Unfinished == nil {
		return nil
	}
	waits, err := l.duties.Unfinished.Unfinished(ctx, gone)
	if err != nil {
		return err
	}
	var ended []domain.Event
	for i := range gone {
		if !waits[i] {
			ended = append(ended, gone[i])
		}
	}
	if len(ended) == 0 {
		return nil
	}
	if err := l.duties.Housekeeping.PassTurns(ctx, ended); err != nil {
		return err
	}
	l.log.Warn("ordering keys go on without a confirmation: the event before is neither in the history nor in the queue",
		"keys", len(ended), "an_event_id", ended[0].ID)
	return nil
}

// fold adds the new entries (outbox_entries) to the sums in outbox_account. fold may be late, because reports count
// the entries as well as the sums.
func (l *Leader) fold(ctx context.Context) {
	_, err := l.duties.Housekeeping.FoldAccount(ctx)
	l.failing.note(ctx, dutyFold, err)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("could not add the new entries to the account of events", "retry_in", foldEvery, "error", err)
	}
}

// measureTypes stores what happened to events since its last call, and what waits in Redis, by type and queue.
func (l *Leader) measureTypes(ctx context.Context) {
	err := l.duties.Housekeeping.MeasureTypes(ctx, l.metrics.queues.byQueue())
	l.failing.note(ctx, dutyTypes, err)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("could not measure types and queues", "retry_in", typesEvery, "error", err)
	}
}

// tidy does the leader's work that may wait for minutes, such as deleting old rows. If
// tidy cannot lock a partition in time, the next round tries again: partitions are created
// days before they are needed.
func (l *Leader) tidy(ctx context.Context) {
	err := errors.Join(
		l.duties.Housekeeping.KeepPartitions(ctx, l.duties.History),
		l.duties.Housekeeping.TrimRelays(ctx, staleRelay),
		l.duties.Housekeeping.ThinSamples(ctx),
		l.trim(ctx, "cancelled events", l.duties.Housekeeping.TrimCancelled, l.duties.InboxRetention),
		l.trim(ctx, "void tasks", l.duties.Housekeeping.TrimVoidTasks, 0),
		l.trim(ctx, "inbox rows", l.duties.Housekeeping.TrimInbox, l.duties.InboxRetention),
		l.trim(ctx, "suppressed events", l.duties.Housekeeping.TrimSuppressed, l.duties.InboxRetention),
	)
	l.failing.note(ctx, dutyTidy, err)
	if err == nil {
		l.metrics.measured.setTidied(time.Now())
	} else if ctx.Err() == nil {
		l.log.Warn("could not do all of the housekeeping", "retry_in", tidyEvery, "error", err)
	}
	l.look(ctx)
}

func (l *Leader) trim(ctx context.Context, what string, trim func(context.Context, time.Duration, int) (int64, error), age time.Duration) error {
	total := int64(0)
	for n := int64(trimBatch); n == trimBatch; total += n {
		var err error
		if n, err = trim(ctx, age, trimBatch); err != nil {
			return fmt.Errorf("trim %s: %w", what, err)
		}
	}
	if total > 0 {
		l.log.Info("trimmed "+what, "rows", total)
	}
	return nil
}
