package lead

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/relay/pace"
)

// Healing is what a relay needs to notice that the queue has lost data, and to
// send again what may have been in it.
type Healing struct {
	Queue  domain.IdentifiedQueue
	Memory domain.QueueMemory
	// CheckInterval is how long a loss goes unnoticed at most, while the queue
	// can be reached.
	CheckInterval time.Duration
	// Unconfirmed are the types of events that no consumer confirms. They are not
	// sent again.
	Unconfirmed []string
}

const (
	// checkPatience bounds one look at the queue.
	checkPatience = 5 * time.Second
	// advanceEvery is how often an idle relay renews the canary. A busy one
	// does with every check. So what was relayed before the canary was last renewed
	// is missed nowhere.
	advanceEvery = 30 * time.Second
	// healShare is the inverse of the share of time that healing may take: of
	// a queue that is another one at every look, as behind a bad proxy, or one
	// that two databases believe to be theirs alone.
	healShare = 4
	// healRest is the longest that a loss has to wait for that reason.
	healRest = time.Minute
)

// healer looks whether the queue is still the one that took the events, and has
// kept them. It runs in the leader.
//
// The canary goes into the queue before anything is put back, and is remembered
// after all is: whatever the queue loses from then on, it loses the canary too,
// and a crash in between leaves the old one remembered. When the canary is merely renewed, it
// is remembered first. So a crash between two steps can only be the cause of a
// needless heal, in which every event meets its own task, and never of a missed one.
type healer struct {
	o       Healing
	history time.Duration
	log     *slog.Logger
	metrics *metrics
	failing *failing
	paused  func() bool  // the queue is known to be out of reach
	relayed func() int64 // events that this process has handed over so far

	look  chan struct{} // there is reason to look now
	leads domain.StillLeads

	record   domain.QueueRecord
	known    bool // record is as it was last remembered
	advanced time.Time
	seen     int64     // relayed, when the canary was last renewed
	rest     time.Time // no heal before
	failed   error     // why the last heal did not work
	silent   bool      // the failure has been reported
	intact   bool      // the look at hand found nothing changed
	vouchers vouchers
	// renewing is the renewal of the canary that is not known to be complete.
	renewing renewal
}

// renewal is the step from one canary to the next. It is zero where none is open.
// While it is open nobody knows which of its canaries is remembered, and which one
// the queue has: an answer may have been lost.
type renewal struct{ from, to string }

func newHealer(o Healing, history time.Duration, r Relay, m *metrics, failing *failing) *healer {
	return &healer{
		o: o, history: history, log: r.Logger, metrics: m, failing: failing,
		paused: r.Unreachable, relayed: r.HandedOver, look: make(chan struct{}, 1),
	}
}

// run looks regularly, and when told to, until ctx ends.
func (h *healer) run(ctx context.Context, leads domain.StillLeads) {
	h.leads = leads
	// Another process may have led in between.
	h.known = false
	tick := time.NewTicker(h.o.CheckInterval)
	defer tick.Stop()
	for {
		if !h.paused() {
			h.report(ctx, h.checkAndVouch(ctx))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.look:
		}
	}
}

// report says once that looking is not possible. While the queue or the database
// is away, others say so, unless it is what only looking needs that is forbidden;
// and that another process was faster is no failure.
func (h *healer) report(ctx context.Context, err error) {
	h.failing.note(ctx, dutyHeal, err)
	_, known := domain.FindingOf(err)
	switch {
	case err == nil:
		h.silent = false
	case ctx.Err() != nil:
	case domain.ErrorCode(err) == domain.CodeUnavailable && (!known || h.paused()), domain.ErrorCode(err) == domain.CodeConflict, h.silent:
		h.log.Debug("could not check whether Redis has kept its data", "again_in", h.o.CheckInterval, "error", err)
	default:
		h.silent = true
		h.log.Warn("could not check whether Redis has kept its data", "again_in", h.o.CheckInterval, "error", err)
	}
}

// check is one look and what follows from it.
func (h *healer) check(ctx context.Context) error {
	looking, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if err := h.leads(looking); err != nil {
		return err
	}
	if err := h.recall(looking); err != nil {
		return err
	}
	seen, err := h.o.Queue.Identify(looking, h.record.Name)
	if err != nil {
		return err
	}
	database, err := h.o.Memory.Database(looking)
	if err != nil {
		return err
	}
	known := h.record.Identity
	if known.Canary == "" {
		return errors.Join(h.rememberDatabase(looking, database), h.adopt(looking, seen))
	}
	change := database.Change(h.record.Database)
	l := loss{what: "the queue may have lost data", reason: seen.Change(known), back: seen.Older(known)}
	if change != "" {
		l = loss{what: "PostgreSQL may have gone back to an earlier state", reason: change, back: true}
	}
	if l.reason == "" {
		h.intact = true
		h.renewing = renewal{}
		return errors.Join(h.rememberDatabase(looking, database), h.advance(looking, seen.Over(known)))
	}
	if change == "" && h.isBehind(seen) {
		return h.renew(looking)
	}
	if time.Now().Before(h.rest) {
		return h.failed
	}
	// Another leader may have healed since this process last did.
	was := h.record
	h.known = false
	if err := h.recall(looking); err != nil {
		return err
	}
	if h.record.Identity != was.Identity || h.record.Database != was.Database {
		pace.Raise(h.look)
		return nil
	}
	h.failed = h.heal(ctx, seen.Over(known), database, l)
	return h.failed
}

// loss is what may be lost, and why.
type loss struct {
	what, reason string
	// back says that it may be this database that has lost something: its own
	// last commits.
	back bool
}

// rememberDatabase remembers what is new about the database and this process's
// history.
func (h *healer) rememberDatabase(ctx context.Context, database domain.DatabaseIdentity) error {
	database = database.Over(h.record.Database)
	if database == h.record.Database && h.history == h.record.History {
		return nil
	}
	if err := h.o.Memory.RememberDatabase(ctx, database, h.history); err != nil {
		return err
	}
	h.record.Database, h.record.History = database, h.history
	return nil
}

func (h *healer) recall(ctx context.Context) (err error) {
	if h.known {
		return nil
	}
	if h.record, err = h.o.Memory.Recall(ctx); err == nil {
		h.known = true
	}
	return err
}

// adopt takes the first queue that this database has seen as it is.
func (h *healer) adopt(ctx context.Context, seen domain.QueueIdentity) error {
	next := seen
	next.Canary = rand.Text()
	if err := h.mark(ctx, next.Canary); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.QueueMarked)
	return h.remember(ctx, next, false)
}

// advance renews the canary, so that a restored older state has an older one.
func (h *healer) advance(ctx context.Context, seen domain.QueueIdentity) error {
	relayed := h.relayed()
	if relayed == h.seen && time.Since(h.advanced) < advanceEvery && seen == h.record.Identity {
		return nil
	}
	next := seen
	next.Canary = rand.Text()
	h.renewing = renewal{from: seen.Canary, to: next.Canary}
	if err := h.remember(ctx, next, false); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.CanaryRemembered)
	h.seen, h.advanced = relayed, time.Now()
	return h.renew(ctx)
}

// renew makes the queue's canary the one that is remembered. It does so also while
// the process stops: what begins next would take the difference for a loss.
func (h *healer) renew(ctx context.Context) error {
	advancing, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkPatience)
	defer cancel()
	intact, err := h.o.Queue.Advance(advancing, h.record.Name, h.renewing.from, h.renewing.to)
	if err != nil {
		return err
	}
	h.renewing = renewal{}
	if !intact {
		pace.Raise(h.look) // it was lost just now
	}
	return nil
}

// isBehind reports whether all that differs is that this process's renewal of the
// canary is open: PostgreSQL remembers the next one, though its answer may have been
// lost, and the queue has the one before. A queue that refuses only this would be
// healed again and again.
func (h *healer) isBehind(seen domain.QueueIdentity) bool {
	expected := h.record.Identity
	if h.renewing.to == "" || expected.Canary != h.renewing.to {
		return false
	}
	expected.Canary = h.renewing.from
	return seen.Change(expected) == ""
}

// mark asks once more who leads: another leader's canary must stay.
func (h *healer) mark(ctx context.Context, canary string) error {
	if err := h.leads(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	return h.o.Queue.Mark(ctx, h.record.Name, canary)
}

func (h *healer) remember(ctx context.Context, next domain.QueueIdentity, healed bool) error {
	err := h.o.Memory.Remember(ctx, h.record.Identity, next, healed)
	if err != nil {
		h.known = false
		return err
	}
	h.record.Identity = next
	return nil
}

// heal sends everything again that may have been lost, or whose confirmation may
// have been.
func (h *healer) heal(ctx context.Context, seen domain.QueueIdentity, database domain.DatabaseIdentity, l loss) error {
	begun := time.Now()
	next := seen
	next.Canary = rand.Text()
	if err := h.mark(ctx, next.Canary); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.HealMarked)
	h.o.Queue.Renew()
	if l.back {
		if err := h.o.Memory.Doubt(ctx); err != nil {
			return err
		}
	}
	if h.history == 0 {
		h.log.Error(l.what+"; nothing can be sent again, and tasks without an event cannot be told apart, because no history is kept (relay.history is 0)", "reason", l.reason)
		return errors.Join(h.rememberDatabase(ctx, database), h.remember(ctx, next, false))
	}
	h.log.Warn(l.what+"; every event that is not confirmed is sent again", "reason", l.reason, "history", h.history)
	events, err := h.o.Memory.Redrive(ctx, h.history, h.o.Unconfirmed, l.what+": "+l.reason)
	h.metrics.healedEvents.Add(float64(events))
	took := time.Since(begun)
	h.rest = time.Now().Add(min(healShare*took, healRest))
	if err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.HealRedriven)
	if err := errors.Join(h.rememberDatabase(ctx, database), h.remember(ctx, next, true)); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.HealRemembered)
	h.metrics.healed(time.Now(), took)
	h.log.Info("events that Redis may have lost are in the outbox again", "events", events, "took", took.Round(time.Millisecond))
	return nil
}
