package dashboard

import (
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

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

// pauses adds the form that pauses and resumes a noun, "queue" or "schedule". show shows the form, which asks for a
// reason. change does what the confirmed form says.
func (r routes) pauses(path, noun string, show func(*fiber.Ctx, pauseForm) error, change func(*fiber.Ctx, pauseForm, *domain.Action) error) {
	r.get(path, func(c *fiber.Ctx) error {
		f, err := readPauseForm(url.Values{"action": {c.Query("action")}, noun: {c.Query(noun)}}, noun)
		if err != nil {
			return err
		}
		return show(c, f)
	})
	r.post(path, func(c *fiber.Ctx) error {
		values, err := url.ParseQuery(string(c.Body()))
		if err != nil {
			return domain.Errorf(domain.CodeInvalid, "the form cannot be read")
		}
		f, err := readPauseForm(values, noun)
		if err != nil {
			return err
		}
		who, err := r.d.permit(c, f.Action)
		if err != nil {
			return err
		}
		if f.Reason == "" {
			f.Fault = "Say why, for the record."
			c.Status(fiber.StatusUnprocessableEntity)
			return show(c, f)
		}
		return change(c, f, &domain.Action{Actor: who, Reason: f.Reason})
	}, domain.ActionPause, domain.ActionResume)
}
