package events

import (
	"strings"
	"time"

	"outboxd/domain/lives"
	"outboxd/domain/words"
	"outboxd/handler/dashboard/show"
)

// timelineStep is a step of an event's timeline, as the page shows it.
type timelineStep struct {
	lives.Step
	Title string
	Tone  string // as tone returns it; "later" for a step that is still to come
	After string // the time since the step before; "" for the first step, and if the time is too short to be known
	Ahead string // the time until the step; "" if the step is in the past
	Error string // the error of an attempt, if the page does not show it already
}

// timeline converts the steps of an event to the form in which the page shows them. The parameter
// shown is the error that the page shows elsewhere.
func timeline(steps []lives.Step, shown string, now time.Time) []timelineStep {
	list := make([]timelineStep, 0, len(steps))
	var before *lives.Step
	for _, s := range steps {
		t := timelineStep{Step: s, Title: show.Capital(s.Title()), Tone: tone(s.What)}
		if attempt, fault, found := strings.Cut(s.Detail, ": "); found && strings.HasPrefix(attempt, "attempt ") {
			t.Detail, t.Error = attempt, fault
			if fault == shown {
				t.Error = ""
			}
		}
		if s.At.After(now) {
			t.Tone, t.Ahead = "later", "in "+words.Rough(s.At.Sub(now))
		}
		if before != nil {
			t.After = after(*before, s)
		}
		before = &s
		list = append(list, t)
	}
	return list
}

// after writes how much time passed between two steps of the timeline. Asynq stores whole seconds
// only, and the clocks of two servers may differ a little, so a later step may have an earlier
// time.
func after(before, s lives.Step) string {
	gap := s.At.Sub(before.At)
	if before.ToTheSecond || s.ToTheSecond {
		if gap = gap.Truncate(time.Second); gap < 2*time.Second {
			return ""
		}
		return "about " + words.Duration(gap) + " later"
	}
	if gap < time.Millisecond {
		return ""
	}
	return words.Duration(gap) + " later"
}

// shownError returns the error that the page of an event shows: why the event is dead, or
// why its last attempt failed.
func (p *eventPage) shownError() string {
	switch {
	case p.Life.Error != "":
		return p.Life.Error
	case len(p.Tasks) > 0 && p.Tasks[0].LastError != "":
		return p.Tasks[0].LastError
	default:
		return p.Life.LastError
	}
}
