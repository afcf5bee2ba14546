package forms

import (
	"html/template"
	"net/url"

	"outboxd/domain"
)

// Pause is a change that pauses or resumes a queue or a schedule. The visitor has not confirmed the change yet.
type Pause struct {
	Action, Name, Fault, Reason string

	noun string
}

// ReadPause reads the form for a queue or a schedule. noun is "queue" or "schedule"; the form's field of that name
// contains the name of the queue or schedule.
func ReadPause(values url.Values, noun string) (f Pause, err error) {
	f = Pause{Action: values.Get("action"), Name: values.Get(noun), noun: noun}
	switch {
	case f.Action != domain.ActionPause && f.Action != domain.ActionResume:
		return f, domain.Errorf(domain.CodeInvalid, "%ss are paused or resumed", noun)
	case f.Name == "":
		return f, domain.Errorf(domain.CodeInvalid, "choose a %s first", noun)
	}
	f.Reason, err = Reason(values.Get("reason"))
	return f, err
}

// Chosen returns the name of the queue or schedule as the query of an address.
func (f *Pause) Chosen() template.URL { return query([]Pair{{f.noun, f.Name}}) }

// Verb returns the caption of the form's button.
func (f *Pause) Verb() string {
	if f.Action == domain.ActionResume {
		return "Resume"
	}
	return "Pause"
}
