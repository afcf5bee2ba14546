package domain

import (
	"context"
	"errors"
	"time"
)

// Action is a person's command as it is recorded: it changes events, queues, subscriptions or schedules. An effect in
// the database and its Action are recorded in one transaction; see ActionRecords for the effects in Redis.
type Action struct {
	ID     ID // given by the store with the first effect
	Actor  string
	Reason string
	// Filter has the filter of the command: the value of each flag, by the flag's name.
	Filter map[string]string
}

// The kinds of actions on failing tasks, and of pausing and resuming. Package access has the kinds of the other
// actions.
const (
	ActionRetry  = "retry"
	ActionGiveUp = "give up"
	ActionPause  = "pause"
	ActionResume = "resume"
)

// ActionOutcome is how an action ended. The empty ActionOutcome says that the action is under way, that its process
// was killed, or that its end could not be recorded.
type ActionOutcome string

// The outcomes.
const (
	OutcomeDone        ActionOutcome = "done"
	OutcomeStopped     ActionOutcome = "stopped"     // the action itself went no further; see Stopped
	OutcomeInterrupted ActionOutcome = "interrupted" // its process was told to end
	OutcomeFailed      ActionOutcome = "failed"
)

// Stopped is the error of an action that goes no further because of what it has seen, such as a replay whose canary
// failed. Its text may be shown to clients.
type Stopped struct{ Err error }

func (s *Stopped) Error() string { return s.Err.Error() }

// Unwrap returns the reason.
func (s *Stopped) Unwrap() error { return s.Err }

// OutcomeOf returns the outcome of an action that ended with err, and the cause in words; "" for OutcomeDone.
func OutcomeOf(err error) (outcome ActionOutcome, cause string) {
	if err == nil {
		return OutcomeDone, ""
	}
	if errors.Is(err, context.Canceled) {
		return OutcomeInterrupted, "the process was told to end"
	}
	if _, stopped := errors.AsType[*Stopped](err); stopped {
		return OutcomeStopped, err.Error()
	}
	if coded, ok := errors.AsType[*Error](err); ok {
		return OutcomeFailed, coded.Message
	}
	return OutcomeFailed, err.Error()
}

// ActionEnds records how actions with several steps ended. Each step is recorded with its effect.
type ActionEnds interface {
	// End records how the action ended: err is the error that ended it; nil: everything was done. End does nothing
	// for an action without a first step. It also records after ctx has ended, and takes at most 5 seconds.
	//
	// End returns err. If err is nil and the end cannot be recorded, End returns that error.
	End(ctx context.Context, action *Action, err error) error
}

// ActionRecords records people's actions that change only Redis. It is safe for concurrent use.
type ActionRecords interface {
	// Record records an action after it has ended, with the number of events that it changed. The parameter cause is
	// the error that ended it; nil: everything was done. Record also records after ctx has ended, and takes at most 5
	// seconds. Errors: CodeUnavailable.
	Record(ctx context.Context, kind string, action *Action, events int64, cause error) error
}

// RecordedAction is one action of a person, such as a replay, a discard or a redrive.
type RecordedAction struct {
	ID      ID
	At      time.Time
	Actor   string
	Kind    string // such as replay, discard, redrive, retry, give up or cancel
	Filter  string // JSON
	Reason  string
	Events  int64
	Outcome ActionOutcome
	Cause   string // why the outcome is not OutcomeDone
}

// Ending describes in words how the action ended.
func (a *RecordedAction) Ending() string {
	switch {
	case a.Outcome == "":
		return "not ended"
	case a.Cause == "":
		return string(a.Outcome)
	default:
		return string(a.Outcome) + ": " + a.Cause
	}
}
