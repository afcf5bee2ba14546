package lead

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"outboxd/client/outage"
	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/domain/lost"
	"outboxd/relay/pace"
)

// Healing has what the leader needs to detect that Redis has lost data, and to send the affected events again.
type Healing struct {
	Queue  lost.IdentifiedQueue
	Memory lost.QueueMemory
	// CheckInterval is how often the healer checks Redis. While Redis can be reached, a loss is noticed within about
	// that time.
	CheckInterval time.Duration
	// Unconfirmed are the types of events that no consumer confirms. They are not
	// sent again.
	Unconfirmed []string
}

const (
	// checkPatience limits the time of one check, and of one renewal of the canary in Redis.
	checkPatience = 5 * time.Second
	// advanceEvery is how often an idle relay renews the canary, a random value in Redis. A check renews it earlier
	// if this process has relayed events since. A Redis that still has a canary was not set back to an earlier
	// state than that in which the canary was written.
	advanceEvery = 30 * time.Second
	// After a heal, no further heal starts for healShare times the duration of the heal. The pause matters if Redis
	// seems to change at every check, for example behind a faulty proxy, or if two databases use the same canary.
	healShare = 4
	// healRest is the upper bound of that pause.
	healRest = time.Minute
)

// healer checks whether Redis is still the server that accepted the events, and whether it has kept them. It runs
// in the leader.
//
// A heal has four steps: the healer stores in the database why it heals and with which new canary, writes that canary
// to Redis, puts the events back into the outbox, and stores the new canary as the right one. If Redis loses data after
// the second step, it loses that canary too. If the process crashes before the last step, the next leader heals again,
// for the same reason. A mere renewal of the canary stores the new canary in the database first, and writes it to Redis
// afterwards. So a crash between two steps can only cause a needless heal, in which Asynq recognises by their IDs the
// tasks that Redis still has. A crash never hides a loss.
type healer struct {
	o       Healing
	history time.Duration
	log     *slog.Logger
	metrics *metrics
	failing *failing
	paused  func() bool  // reports whether the relay has stopped using Redis because of an outage
	relayed func() int64 // returns how many events this process has handed over

	look  chan struct{} // asks for a check now
	leads domain.StillLeads

	record   lost.QueueRecord
	known    bool // record equals the stored one
	advanced time.Time
	seen     int64     // the value of relayed when the canary was last renewed
	rest     time.Time // no heal begins before this time
	failed   error     // the error of the last heal
	silent   bool      // the failure has been logged
	intact   bool      // the present check found no change
	// unconfirmed is how many checks in a row found a loss of Redis that IdentifyAnew did not confirm.
	unconfirmed int
	vouchers    vouchers
	// renewing is the last renewal of the canary, if it may be incomplete.
	renewing renewal
}

// renewal is an incomplete change from one canary to the next; zero means that there is none. If from is empty, to is
// the first canary. Because an answer may have been lost, the database may have either canary, and so may Redis.
type renewal struct{ from, to string }

func newHealer(o Healing, history time.Duration, r Relay, m *metrics, failing *failing) *healer {
	return &healer{
		o: o, history: history, log: r.Logger, metrics: m, failing: failing,
		paused: r.Unreachable, relayed: r.HandedOver, look: make(chan struct{}, 1),
	}
}

// run checks Redis every CheckInterval, when look is raised, and while a loss is not confirmed (see soon), until ctx
// ends. During an outage of Redis it checks nothing.
func (h *healer) run(ctx context.Context, leads domain.StillLeads) {
	h.leads = leads
	// Another process may have been the leader since the last run.
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
		case <-h.soon():
		}
	}
}

// report records whether checking fails, and logs a failure once. An outage is reported elsewhere. So this method warns
// of an unreachable server only if the cause is a missing right that only the healer needs, and records no outage of
// Redis. If another process has done the work already, there is no warning.
func (h *healer) report(ctx context.Context, err error) {
	refused := isRefused(err)
	if _, ofQueue := errors.AsType[queueError](err); !ofQueue || refused || domain.ErrorCode(err) != domain.CodeUnavailable || outage.State(err) != "" {
		h.failing.note(ctx, dutyHeal, err)
	}
	switch {
	case err == nil:
		h.silent = false
	case ctx.Err() != nil:
	case domain.ErrorCode(err) == domain.CodeUnavailable && (!refused || h.paused()), domain.ErrorCode(err) == domain.CodeConflict, h.silent:
		h.log.Debug("could not check whether Redis has kept its data", "again_in", h.o.CheckInterval, "error", err)
	default:
		h.silent = true
		h.log.Warn("could not check whether Redis has kept its data", "again_in", h.o.CheckInterval, "error", err)
	}
}

// queueError marks an error of Redis.
type queueError struct{ error }

func (e queueError) Unwrap() error { return e.error }

// check checks Redis and the database once. check heals if either may have lost data, and otherwise renews the
// canary if that is due.
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
		return queueError{err}
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
	l := h.lossOf(seen, change)
	if l.reason == "" {
		h.intact, h.unconfirmed = true, 0
		return errors.Join(h.rememberDatabase(looking, database), h.advance(looking, seen.Over(known)))
	}
	if change == "" && h.isBehind(seen) {
		return h.renew(looking)
	}
	if time.Now().Before(h.rest) {
		return h.failed
	}
	if change == "" {
		if err := h.confirm(ctx, seen); err != nil {
			return err
		}
	}
	// Another leader may have healed already, so read the record again.
	was := h.record
	h.known = false
	again, end := context.WithTimeout(ctx, checkPatience) // the first reading and confirm may have used up their time
	defer end()
	if err := h.recall(again); err != nil {
		return err
	}
	if h.record.Identity != was.Identity || h.record.Database != was.Database || h.record.Heal != was.Heal {
		pace.Raise(h.look)
		return nil
	}
	h.unconfirmed = 0
	h.failed = h.heal(ctx, seen.Over(known), database, l)
	return h.failed
}

// rememberDatabase stores the database's identity, and for how long the history keeps events, if either changed.
func (h *healer) rememberDatabase(ctx context.Context, database lost.DatabaseIdentity) error {
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

// adopt is called when the database has no record of a Redis yet: it records the present Redis as the right one.
func (h *healer) adopt(ctx context.Context, seen lost.QueueIdentity) error {
	next := seen
	next.Canary, next.Gone = h.nextCanary(""), ""
	if err := h.mark(ctx, next.Canary); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.QueueMarked)
	return h.remember(ctx, next, "")
}

// advance renews the canary if that is due (see advanceEvery). If Redis is later restored to an older state, the older
// canary shows it. advance finishes even if the process stops, because the next leader would take a difference between
// Redis and the database for a loss.
func (h *healer) advance(ctx context.Context, seen lost.QueueIdentity) error {
	relayed := h.relayed()
	if relayed == h.seen && time.Since(h.advanced) < advanceEvery && seen == h.record.Identity {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkPatience)
	defer cancel()
	next := seen
	next.Canary = h.nextCanary(seen.Canary)
	if err := h.remember(ctx, next, ""); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.CanaryRemembered)
	h.seen, h.advanced = relayed, time.Now()
	return h.renew(ctx)
}

// nextCanary returns the canary that follows on from. A change whose answer was lost is repeated with the same canary,
// because the database may still store it. With another canary the difference to Redis would then look like a loss.
func (h *healer) nextCanary(from string) string {
	if h.renewing.to == "" || h.renewing.from != from {
		h.renewing = renewal{from: from, to: rand.Text()}
	}
	return h.renewing.to
}

// renew writes to Redis the canary that the database has stored. Like advance, renew
// finishes even if the process stops.
func (h *healer) renew(ctx context.Context) error {
	advancing, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkPatience)
	defer cancel()
	intact, err := h.o.Queue.Advance(advancing, h.record.Name, h.renewing.from, h.renewing.to)
	if err != nil {
		return queueError{err}
	}
	h.renewing = renewal{}
	if !intact {
		pace.Raise(h.look) // the canary has just been lost
	}
	return nil
}

// isBehind reports whether the only difference is an incomplete renewal by this process: PostgreSQL has the next
// canary, and Redis still the previous one. Without this check a Redis that merely refuses the write would be
// healed again and again.
func (h *healer) isBehind(seen lost.QueueIdentity) bool {
	expected := h.record.Identity
	if h.renewing.to == "" || expected.Canary != h.renewing.to {
		return false
	}
	expected.Canary = h.renewing.from
	return seen.Change(expected) == ""
}

// mark writes the canary to Redis. mark writes only while this process is still the
// leader, because it must not replace another leader's canary.
func (h *healer) mark(ctx context.Context, canary string) error {
	if err := h.leads(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if err := h.o.Queue.Mark(ctx, h.record.Name, canary); err != nil {
		return queueError{err}
	}
	return nil
}

func (h *healer) remember(ctx context.Context, next lost.QueueIdentity, healed string) error {
	err := h.o.Memory.Remember(ctx, h.record.Identity, next, healed)
	if err != nil {
		h.known = false
		return err
	}
	if h.record.Before = h.record.Identity.Canary; healed != "" {
		h.record.Before = ""
	}
	h.record.Identity, h.record.Heal.Canary = next, ""
	return nil
}

// begin records the heal and, if the database may have gone back, that too. Once Redis has the canary of the heal,
// nothing else shows that the database went back.
func (h *healer) begin(ctx context.Context, canary string, l loss) error {
	if err := h.leads(ctx); err != nil {
		return err
	}
	if l.back {
		if err := h.o.Memory.Doubt(ctx); err != nil {
			return err
		}
	}
	began := lost.Heal{Canary: canary, Reason: l.reason}
	if err := h.o.Memory.BeginHeal(ctx, h.record.Identity, began); err != nil {
		h.known = false
		return err
	}
	h.record.Heal = began
	return nil
}

// heal puts the unconfirmed events of the history back into the outbox, because Redis may have lost their tasks, or the
// database their confirmations. If only some slots of a Redis Cluster are lost, it leaves out the events of the other
// queues.
func (h *healer) heal(ctx context.Context, seen lost.QueueIdentity, database lost.DatabaseIdentity, l loss) error {
	begun := time.Now()
	next := seen
	next.Canary, next.Gone = rand.Text(), ""
	if err := h.begin(ctx, next.Canary, l); err != nil {
		return err
	}
	if err := h.mark(ctx, next.Canary); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.HealMarked)
	h.o.Queue.Renew()
	if h.history == 0 {
		h.log.Error(l.what()+"; nothing can be sent again, and tasks without an event cannot be told apart, because no history is kept (relay.history is 0)", "reason", l.reason)
		return errors.Join(h.rememberDatabase(ctx, database), h.remember(ctx, next, ""))
	}
	h.log.Warn(l.what()+l.consequence(), "reason", l.reason, "history", h.history)
	events, err := h.o.Memory.Redrive(ctx, lost.Redrive{Window: h.history, Except: h.o.Unconfirmed, Why: l.what() + ": " + l.reason, Slots: l.slots})
	h.metrics.healedEvents.Add(float64(events))
	took := time.Since(begun)
	if ctx.Err() == nil { // otherwise the leadership has ended, and the next heal need not wait
		h.rest = time.Now().Add(min(healShare*took, healRest))
	}
	if err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.HealRedriven)
	if err := errors.Join(h.rememberDatabase(ctx, database), h.remember(ctx, next, l.reason)); err != nil {
		return err
	}
	crashpoint.Reach(crashpoint.HealRemembered)
	// The next check renews the canary. As long as Redis has the canary of a heal, a database that goes back into the
	// time of the heal looks as if the heal had not ended.
	h.advanced = time.Time{}
	pace.Raise(h.look)
	h.metrics.healed(time.Now(), took)
	h.log.Info("events that Redis may have lost are in the outbox again", "events", events, "took", took.Round(time.Millisecond))
	return nil
}
