package dashboard

import (
	"net/url"
	"strings"

	"outboxd/domain"
)

// pauseForm is a command to pause or resume a queue or a schedule that the visitor has not
// confirmed yet.
type pauseForm struct{ Action, Name, Fault, Reason string }

// Verb is what the form's button does.
func (f *pauseForm) Verb() string {
	if f.Action == domain.ActionResume {
		return "Resume"
	}
	return "Pause"
}

// readPauseForm reads the form about a noun, "queue" or "schedule". The field of that name
// has the name of the queue or schedule.
func readPauseForm(values url.Values, noun string) (f pauseForm, err error) {
	f = pauseForm{Action: values.Get("action"), Name: values.Get(noun), Reason: strings.TrimSpace(values.Get("reason"))}
	switch {
	case f.Action != domain.ActionPause && f.Action != domain.ActionResume:
		return f, domain.Errorf(domain.CodeInvalid, "%ss are paused or resumed", noun)
	case f.Name == "":
		return f, domain.Errorf(domain.CodeInvalid, "choose a %s first", noun)
	case len(f.Reason) > maxReason:
		return f, domain.Errorf(domain.CodeInvalid, "that is too much for one form: be brief about the reason")
	}
	return f, nil
}
