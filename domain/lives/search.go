package lives

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/domain/words"
)

// State is the state of an event. SQL, commands and web pages use the same names.
type State string

// The states of an event.
const (
	StatePending  State = "pending"   // in the outbox
	StateHeld     State = "held"      // waits for its ordering key's turn
	StateInFlight State = "in flight" // handed to the queue and not confirmed
	// StateFailing is an event in flight whose task failed and waits to be tried again. Only Redis knows that a
	// task is failing; in the database its event is in flight.
	StateFailing   State = "failing"
	StateConfirmed State = "confirmed" // took effect
	StateDead      State = "dead"      // given up
	// StateSuppressed is a unique event that got no task, because another task held the unique lock.
	StateSuppressed State = "suppressed"
	StateCancelled  State = "cancelled" // cancelled before it took effect
	// StateGone is an event of which only the journal is left. No search finds it.
	StateGone State = "gone"
)

// States lists the states that a search can find: all but StateGone.
func States() []State {
	return []State{StatePending, StateHeld, StateInFlight, StateFailing, StateConfirmed, StateDead, StateSuppressed, StateCancelled}
}

// Open reports whether events in this state may still take effect, so that they can be cancelled.
func (s State) Open() bool {
	return s == StatePending || s == StateHeld || s == StateInFlight || s == StateFailing
}

// Filter chooses the events that match every field that is not zero. The zero Filter chooses all events.
type Filter struct {
	ID          domain.ID
	Type        string // a * at the end stands for any ending
	Queue       string // as Type
	OrderingKey string
	State       State
	NotStates   []State // leaves out events in these states
	Open        bool    // only events in states that are open, see State.Open
	// Since (inclusive) and Until (exclusive) bound the time in the event's ID, which is when the ID was made: usually
	// when the event was emitted. domain.ID.Time says which IDs contain a time. For any other ID, a search in the
	// database compares the bytes as if they contained a time. A search for failing events leaves out events with
	// such IDs.
	Since, Until time.Time
	// EmittedBefore leaves out events that were emitted at that time or later, by created_at: when the producer's
	// transaction began, by the database's clock. It works for every ID. People do not choose it; a form does, so that
	// a change leaves alone what is emitted after the form was opened.
	EmittedBefore time.Time
	HeaderName    string
	HeaderValue   string // with HeaderName; "" is any
	Payload       domain.PayloadField
	// Error is a part of the error, ignoring case. The error of a failing event is only in Redis, so the filter
	// finds it only together with StateFailing.
	Error string
	// NotErrors leaves out events whose error contains one of its texts, ignoring case. NotTypes leaves out events
	// of its types, in which a * at the end stands for any ending.
	NotErrors, NotTypes []string
	NotFields           []domain.PayloadField // leaves out events whose payload has one of these
	NotKeys             []string              // leaves out events of these ordering keys
	NotHeaders          []domain.Header       // leaves out events that have one of these
}

// Finds reports whether a state meets the filter's conditions on the state.
func (f *Filter) Finds(state State) bool {
	return (f.State == "" || f.State == state) && !slices.Contains(f.NotStates, state) && (!f.Open || state.Open())
}

// ErrorMatches reports whether an event with this error and type passes the filter's conditions on error and type.
func (f *Filter) ErrorMatches(text, eventType string) bool {
	named := func(name string) bool { return name != "" && Names(name, eventType) }
	contains := func(part string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(part)) }
	return (f.Error == "" || contains(f.Error)) && !slices.ContainsFunc(f.NotErrors, contains) && !slices.ContainsFunc(f.NotTypes, named)
}

// AsksDatabase reports whether the filter has a condition on what Redis does not know of a failing event: its ordering
// key, its headers or its payload.
func (f *Filter) AsksDatabase() bool {
	return f.OrderingKey != "" || f.HeaderName != "" || len(f.Payload.Path)+len(f.NotFields)+len(f.NotKeys)+len(f.NotHeaders) > 0
}

// AsksQueue reports whether the filter has a condition that tells failing events from the others in flight. Only Redis
// knows which ones are failing, and their errors.
func (f *Filter) AsksQueue() bool {
	fails := f.Finds(StateFailing)
	return fails != f.Finds(StateInFlight) || fails && (f.Error != "" || len(f.NotErrors) > 0)
}

// sure returns an error with domain.CodeUnavailable if Redis could not be asked, for the reason that fault says, and the
// filter needs its answer.
func (f *Filter) sure(fault string) error {
	if fault == "" || !f.AsksQueue() {
		return nil
	}
	return domain.Wrap(domain.CodeUnavailable, errors.New(fault), "Redis does not say which events are failing, and the choice treats them differently from the others in flight; try again when Redis answers")
}

// Narrows reports whether the filter has a condition that may leave an event out; see domain.DeadFilter.Narrows. Open
// and EmittedBefore do not count, because people do not choose them. NotStates does not count either: a filter without confirmed events
// chooses every event that can still be changed.
func (f *Filter) Narrows() bool {
	return domain.Narrows(f.Type) || domain.Narrows(f.Queue) || !f.ID.IsZero() || f.OrderingKey != "" || f.State != "" || f.HeaderName != "" || f.Error != "" ||
		len(f.Payload.Path)+len(domain.Named(f.NotErrors))+len(domain.Named(f.NotTypes))+len(domain.Named(f.NotKeys))+len(f.NotHeaders)+len(f.NotFields) > 0 || !f.Since.IsZero() || !f.Until.IsZero()
}

// Summary is an event in a list.
type Summary struct {
	ID          domain.ID
	Type        string
	Queue       string
	OrderingKey string
	State       State
	CreatedAt   time.Time
	Since       time.Time // when it came into its state; for a pending event, when it is due
	// Attempts is domain.Event.Attempts: how often Redis refused the event. For StateFailing,
	// and for a dead letter of the worker or of a person, Attempts counts the failed attempts
	// of the task.
	Attempts     int
	Generation   int
	Error        string // the last error; dead: the error that it died of; suppressed: which task took its place; cancelled: who cancelled it, and why
	PayloadBytes int
	WaitsFor     domain.ID // held: the event for which it waits, as Life.TurnOf; zero: none
	Replaying    bool      // held: as Life.Replaying
	// Failing is the event's failing task in Redis. It is nil unless State is StateFailing.
	Failing *queued.FailingTask
}

// Page is one page of search results, newest first.
type Page struct {
	Events []Summary
	// Next is the argument before of Reader.Search for the next page. It is zero on the last page.
	Next domain.ID
	// GaveUp says that the search stopped early, because it took too long or had read as many events as one search
	// may read. A new search can continue from Next.
	GaveUp bool
	// Examined is a lower bound on the number of events that the search read.
	Examined int
	// Incomplete says that a queue has more failing tasks than FailingListed. No page of a search for failing events
	// has the events of the other tasks.
	Incomplete bool
	// History is how long confirmed events are kept. It is zero if none are kept, if no relay has said it yet, or
	// after a search for failing events.
	History time.Duration
	// QueueFault says why Redis could not be asked for failing tasks. Failing events are then listed as in flight.
	// "" means that Redis was asked.
	QueueFault string
}

// Sure returns an error with domain.CodeUnavailable if the page may have events that the filter leaves out, because Redis
// could not be asked. Whoever changes the events of a page calls it before.
func (p *Page) Sure(filter *Filter) error { return filter.sure(p.QueueFault) }

// FailingListed is how many failing tasks of each queue a search reads: those whose next attempt comes first.
const FailingListed = 50_000

// Missing says for people which events are on no page of the search; "" if every event that matches is on one.
func (p *Page) Missing() string {
	if !p.Incomplete {
		return ""
	}
	return fmt.Sprintf("A queue has more than %[1]s failing tasks. The search reads %[1]s of each queue, those whose next attempt comes first. The events of the others are on no page.", words.Count(FailingListed))
}

// Counted says how many events match a filter.
type Counted struct {
	Events int64
	// All is false if the count may have missed events before it reached its limit, for example because its patience
	// was over.
	All bool
	// Incomplete says that a queue has more failing tasks than FailingListed, as Page.Incomplete. All is then false.
	Incomplete bool
	// QueueFault says why Redis could not be asked for failing tasks, as Page.QueueFault. Then the events that the
	// filter leaves out because they are failing, or because of their error in Redis, are counted too.
	QueueFault string
}

// Sure is Page.Sure for a count.
func (c *Counted) Sure(filter *Filter) error { return filter.sure(c.QueueFault) }

// PagePatience and CommandPatience are how long one search of a page or of a command reads events. A search has steps,
// each of which reads a bounded number of events. No step begins that would probably take longer than the time left.
const (
	PagePatience    = 150 * time.Millisecond
	CommandPatience = 2 * time.Second
)

// Reader reads single events from the database. Its methods are safe for concurrent use.
type Reader interface {
	// Search returns up to limit events whose IDs come before the given one, in descending order of their IDs. If the
	// given ID is zero, Search begins with the newest event. Search reads a bounded number of events, for a bounded
	// time, whatever the filter is.
	//
	// Errors: domain.CodeUnavailable if the database cannot be reached or is too slow.
	Search(ctx context.Context, filter Filter, before domain.ID, limit int) (Page, error)

	// Count counts up to limit of the events that Search finds, for about the given time. Errors: as Search.
	Count(ctx context.Context, filter Filter, limit int, patience time.Duration) (Counted, error)

	// Find returns the life of one event. Errors: domain.CodeNotFound if the database has nothing about it,
	// domain.CodeUnavailable.
	Find(ctx context.Context, id domain.ID) (*Life, error)

	// InFlight returns those of the named events that are in outbox_sent, are not confirmed, and match the filter's
	// type, queue, ordering key, header and payload fields. The order of the result is not specified.
	//
	// Errors: as Search.
	InFlight(ctx context.Context, filter Filter, ids []domain.ID) ([]Summary, error)
}

// Names reports whether a filter's type or queue chooses a name: "" chooses every name, and a * at the end of the
// filter stands for any ending.
func Names(filter, name string) bool {
	prefix, begins := strings.CutSuffix(filter, "*")
	return filter == "" || name == filter || begins && strings.HasPrefix(name, prefix)
}

// ParseMoment reads a time that a person wrote. ParseMoment accepts a duration, which means that long ago (15m, 24h,
// 2d), and RFC 3339. ParseMoment also accepts 2006-01-02 and 2006-01-02T15:04, with or without seconds. Without a
// time zone these are in UTC, and a space may replace the T. Its errors have domain.CodeInvalid.
func ParseMoment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if ago, err := words.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, domain.Errorf(domain.CodeInvalid, "%.40q is not a time: write how long ago, such as 15m or 24h, or a time such as 2006-01-02T15:04:05Z", text)
}

// ParseState returns the state with that name, or "" for "". "in flight"
// may be written with a hyphen. Its errors have domain.CodeInvalid.
func ParseState(text string) (State, error) {
	if state := State(strings.ReplaceAll(text, "-", " ")); text == "" || slices.Contains(States(), state) {
		return state, nil
	}
	return "", domain.Errorf(domain.CodeInvalid, "%.40q is not a state: the states are pending, held, in-flight, failing, confirmed, dead, suppressed and cancelled", text)
}

// ParseStates is ParseState for several names. It leaves out the empty ones.
func ParseStates(texts []string) (states []State, err error) {
	for _, text := range domain.Named(texts) {
		state, err := ParseState(text)
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}
