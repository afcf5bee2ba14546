package dashboard

import (
	"net/url"
	"strings"

	"outboxd/domain"
)

// pauseForm is a change that pauses or resumes a queue or a schedule. The visitor has not
// confirmed the change yet.
type pauseForm struct{ Action, Name, Fault, Reason string }

// Verb returns the caption of the form's button.
func (f *pauseForm) Verb() string {
	if f.Action == domain.ActionResume {
		return "Resume"
	}
	return "Pause"
}

// readPauseForm reads the form for a queue or a schedule. noun is "queue" or "schedule";
// the form's field of that name contains the name of the queue or schedule.
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
