package lead

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/domain/queued"
	"outboxd/relay/pace"
)

// Reconciliation has what the leader needs to notice that Redis has lost single tasks, although its identity
// (RunID, canary) has not changed.
type Reconciliation struct {
	Events lost.MissingEvents
	Tasks  queued.TaskFinder
	// Resend says that missing events are sent again if other events of their type were confirmed. Without Resend
	// they are only recorded.
	Resend bool
	// Age is how long ago an event must have been handed to Redis before it can count as missing; 0 means 20
	// seconds. Every is the time between two rounds while there are unconfirmed events; 0 means 10 seconds.
	Age, Every time.Duration
}

const (
	missingAge     = 20 * time.Second
	reconcileEvery = 10 * time.Second
	// Every is multiplied by reconcileIdle while the last round found no unconfirmed events. With Age and the
	// duration of a short round added, a lost event is still sent again or reported within a minute.
	reconcileIdle = 2.5
	// ReconcileRows is how many rows of outbox_sent (the history) one statement reads.
	ReconcileRows = 5000
	// pagePatience limits the time for one page.
	pagePatience = 10 * time.Second
	// Reconciling may take 1/reconcileShare of the time while a page takes less than reconcileQuick, because then
	// both servers are quick. A page on which all events wait takes 85 ms on a busy machine, half of it in Redis. At
	// a tenth of the time, that is about 5 % of Redis's CPU core. If a page takes longer, the servers are busy, and
	// reconciling may take only 1/reconcileBusyShare of the time.
	reconcileShare, reconcileBusyShare = 10, 40
	reconcileQuick                     = 100 * time.Millisecond
	// A missing event is sent again at most resendLimit times: at once, then after resendPause, then after four
	// times resendPause. If the event is missing again after that, it is left for a person: its consumer does not
	// confirm it, or loses it each time.
	resendLimit = 3
	resendPause = time.Minute
	// busyLimit is how many events of a page may make the reconciler wait for another transaction. After that, the
	// archivist alone makes the page's dead letters.
	busyLimit = 10
)

// reconciler compares the history (outbox_sent) with Redis, page by page, in repeated rounds. Redis must have a
// task of every event that is still unconfirmed after Age. The reconciler runs in the leader.
//
// A round skips the parts of the history in which all events were confirmed when it last
// read them. Besides the rounds, a sweep reads the whole history, because a skipped part
// may get further events later. Such later events were held, became due long after their
// emission, or have IDs that their producers chose.
//
// A consumer that does not confirm events cannot be distinguished from a Redis that loses tasks: in both cases
// tasks disappear without a confirmation. So events are sent again only if other events of their type were
// confirmed.
type reconciler struct {
	o       Reconciliation
	except  []string
	log     *slog.Logger
	metrics *metrics
	paused  func() bool
	intact  func(context.Context) bool // reports whether the queue has lost no more than single tasks
	// archivist makes dead letters of events whose tasks are archived; nil: this leader has no archivist.
	archivist *archivist

	closed  idRanges
	proven  map[string]bool // types that have a confirmed event
	handed  int64           // HandedOver when the last complete round began
	open    bool            // the last round found unconfirmed events
	noted   bool            // events may be noted as missing
	skipped map[string]bool // queues that the round leaves out because they cannot be used
	swept   domain.ID       // the sweep's position
	sweeps  int64           // HandedOver when the sweep began
	found   findings
	silent  bool
}

func newReconciler(o Reconciliation, except []string, log *slog.Logger, m *metrics, h *healer) *reconciler {
	o.Age, o.Every = cmp.Or(o.Age, missingAge), cmp.Or(o.Every, reconcileEvery)
	return &reconciler{skipped: map[string]bool{}, o: o, except: except, log: log, metrics: m, paused: h.paused, intact: h.vouch}
}

// run makes rounds until ctx ends.
func (r *reconciler) run(ctx context.Context) {
	// Another process may have been the leader since the last run.
	r.closed, r.proven, r.handed, r.open, r.noted = nil, map[string]bool{}, -1, true, true
	r.swept, r.sweeps = domain.ID{}, -1
	defer r.metrics.missing.Set(0)
	for pause := r.o.Every; ; {
		pace.Wait(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		begun := time.Now()
		if !r.paused() {
			r.report(ctx, r.round(ctx))
		}
		every := r.o.Every
		if !r.open && !r.noted {
			every = time.Duration(reconcileIdle * float64(every))
		}
		pause = max(time.Until(begun.Add(every)), 0)
	}
}

var errNotIntact = errors.New("the queue may have lost more than single tasks")

// report logs once that reconciling fails. An outage is reported elsewhere, and the healer reports a loss of all
// data in Redis.
func (r *reconciler) report(ctx context.Context, err error) {
	r.found.log(r.log, r.o.Resend)
	switch {
	case err == nil:
		r.silent = false
	case ctx.Err() != nil:
	case domain.ErrorCode(err) == domain.CodeUnavailable, errors.Is(err, errNotIntact), r.silent:
		r.log.Debug("could not compare the history with the queue", "again_in", r.o.Every, "error", err)
	default:
		r.silent = true
		r.log.Warn("could not compare the history with the queue", "again_in", r.o.Every, "error", err)
	}
}

// round reads all parts of the history that may have unconfirmed events, and in between the next pages of the
// sweep. It reads nothing if the last round and a sweep found nothing to do and no event was handed over since.
func (r *reconciler) round(ctx context.Context) error {
	begun := time.Now()
	r.skipped = map[string]bool{}
	handed, since, err := r.o.Events.HandedOver(ctx)
	if err != nil {
		return err
	}
	if handed >= 0 && handed == r.handed && handed == r.sweeps && r.swept.IsZero() && !r.open && !r.noted {
		return nil
	}
	open := false
	for after := (domain.ID{}); ; {
		begin, until := r.closed.gap(after)
		page, err := r.page(ctx, begin, until)
		if err != nil {
			return err
		}
		open = open || page.Open > 0
		if err := r.sweep(ctx, handed); err != nil {
			return err
		}
		if after = page.Last; page.End {
			if until == domain.LastID() {
				break
			}
			after = until
		}
	}
	r.handed, r.open = handed, open
	for time.Since(begun) < r.o.Every && r.sweeping(handed) && ctx.Err() == nil {
		if err := r.sweep(ctx, handed); err != nil {
			return err
		}
	}
	return r.settle(ctx, since)
}

// sweeping reports whether a sweep has begun and not ended, or should begin.
func (r *reconciler) sweeping(handed int64) bool {
	return !r.swept.IsZero() || handed < 0 || handed != r.sweeps
}

func (r *reconciler) sweep(ctx context.Context, handed int64) error {
	if !r.sweeping(handed) {
		return nil
	}
	if r.swept.IsZero() {
		r.sweeps = handed
	}
	page, err := r.page(ctx, r.swept, domain.LastID())
	if err != nil {
		return err
	}
	if r.swept = page.Last; page.End {
		r.swept = domain.ID{}
	}
	return nil
}

// page reads a page, handles its missing events and those whose tasks are archived, and then pauses in proportion to
// the time that reading took. The time for handling them does not count, because it occurs only once for each loss.
// Missing events come first, because the others may make the reconciler wait.
func (r *reconciler) page(ctx context.Context, after, until domain.ID) (lost.SentPage, error) {
	var reading time.Duration
	defer func(ctx context.Context) { pace.Wait(ctx, ReconcileRest(reading)) }(ctx)
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	begun := time.Now()
	page, missing, archived, err := r.read(ctx, after, until)
	if reading = time.Since(begun); err != nil {
		return page, err
	}
	if len(missing) > 0 {
		if !r.intact(ctx) {
			return page, errNotIntact
		}
		if err := r.deal(ctx, missing); err != nil {
			return page, err
		}
	}
	return page, r.bury(ctx, archived)
}

// read reads a page, and returns those of its events that are missing, and those whose tasks are archived.
func (r *reconciler) read(ctx context.Context, after, until domain.ID) (page lost.SentPage, missing []lost.MissingEvent, archived []domain.Event, err error) {
	page, err = r.o.Events.Page(ctx, after, until, ReconcileRows, r.o.Age, r.except)
	if err != nil {
		return page, nil, nil, err
	}
	for _, eventType := range page.Proven {
		r.proven[eventType] = true
	}
	if page.Open == 0 && isOld(page.Last) {
		r.closed.add(after, page.Last)
	} else {
		r.closed.remove(after, page.Last)
	}
	missing, archived, err = r.look(ctx, page.Waiting)
	return page, missing, archived, err
}

// ReconcileRest returns how long reconciling pauses after a page that took the given time.
func ReconcileRest(took time.Duration) time.Duration {
	if took > reconcileQuick {
		return (reconcileBusyShare - 1) * took
	}
	return (reconcileShare - 1) * took
}

// isOld reports whether an ID is so old that the history will hardly get earlier IDs any more. An ID without a
// time counts as old. Later rounds skip a page only if its last ID is old.
func isOld(id domain.ID) bool {
	made, known := id.Time()
	return !known || time.Since(made) > 2*time.Minute
}

// look returns those of the waiting events whose tasks Redis has lost, or has as completed although no consumer
// confirmed the event, and those whose tasks are archived. look leaves out events of queues that cannot be used.
func (r *reconciler) look(ctx context.Context, waiting []domain.SentEvent) (missing []lost.MissingEvent, archived []domain.Event, err error) {
	usable := func() {
		waiting = slices.DeleteFunc(waiting, func(e domain.SentEvent) bool { return r.skipped[e.Event.Queue] })
	}
	for usable(); len(waiting) > 0; usable() {
		events := make([]domain.Event, len(waiting))
		for i := range waiting {
			events[i] = waiting[i].Event
		}
		tasks, err := r.o.Tasks.Look(ctx, events)
		if queues := domain.UnusableQueues(err); len(queues) > 0 {
			before := len(r.skipped)
			for _, queue := range queues {
				r.skipped[queue] = true
			}
			if len(r.skipped) == before {
				return nil, nil, err
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for i, task := range tasks {
			switch {
			case task.Lost(), task == queued.TaskCompleted:
				missing = append(missing, lost.MissingEvent{SentEvent: waiting[i], Task: task})
			case task == queued.TaskArchived:
				archived = append(archived, events[i])
			}
		}
		return missing, archived, nil
	}
	return nil, nil, nil
}

// bury makes dead letters of events whose tasks are archived. The archivist reads only the tasks that were archived
// since its last search. It may have passed over these tasks, because an event was emitted again later, or because
// Redis's clock jumped. An event that cannot become a dead letter ends no round; the archivist warns of it.
func (r *reconciler) bury(ctx context.Context, archived []domain.Event) error {
	if r.archivist == nil {
		return nil
	}
	busy := 0
	for i := range archived {
		err := r.archivist.buryTask(ctx, archived[i].Queue, archived[i].TaskID())
		if err != nil && !isOfOneEvent(ctx, err) {
			return err
		}
		if err != nil {
			r.log.Debug("an archived task could not become a dead letter", "event_id", archived[i].ID, "error", err)
		}
		if errors.Is(err, errBusyElsewhere) {
			busy++
		}
		if busy >= busyLimit {
			return nil
		}
	}
	return nil
}

// deal is called with missing events: it records them, and sends them again where that is allowed (see resends).
func (r *reconciler) deal(ctx context.Context, missing []lost.MissingEvent) error {
	for i := range missing {
		missing[i].Proven = r.proven[missing[i].Event.Type]
	}
	noted, err := r.o.Events.Note(ctx, missing)
	if err != nil {
		return err
	}
	r.noted = true
	ids := map[queued.TaskPresence][]domain.ID{}
	for i := range noted {
		e := &noted[i]
		resend := r.resends(e)
		if resend {
			ids[e.Task] = append(ids[e.Task], e.Event.ID)
		}
		r.found.add(e, resend)
	}
	for task, some := range ids {
		n, err := r.o.Events.Resend(ctx, some, "its task "+task.String())
		if err != nil {
			return err
		}
		r.metrics.resent.Add(float64(n))
	}
	return nil
}

func (r *reconciler) resends(e *lost.MissingEvent) bool {
	pause := resendPause
	for range e.Resends - 1 {
		pause *= 4
	}
	return r.o.Resend && r.proven[e.Event.Type] && e.Resends < resendLimit && time.Since(e.ResentAt) > pause
}

// settle ends a round. It deletes the record of a missing event if the round did not find the event missing, if the
// event is confirmed, or if it is no longer on its way. After a round that left out a queue, it deletes nothing.
func (r *reconciler) settle(ctx context.Context, since time.Time) error {
	if !r.noted || len(r.skipped) > 0 {
		return nil
	}
	missing, remembered, err := r.o.Events.Settle(ctx, since)
	if err != nil {
		return err
	}
	r.noted = remembered > 0
	r.metrics.missing.Set(float64(missing))
	return nil
}
