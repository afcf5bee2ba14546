package changes

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
)

// PauseForm adds the form that pauses and resumes a queue or a schedule; the noun is "queue" or "schedule". The
// function show shows the form, which asks for a reason. The function change does what the confirmed form says.
func (p *Pages) PauseForm(r shell.Router, path, noun string, show func(*fiber.Ctx, forms.Pause) error, change func(*fiber.Ctx, forms.Pause, *domain.Action) error) {
	r.Get(path, func(c *fiber.Ctx) error {
		values, err := forms.Asked(c)
		if err != nil {
			return err
		}
		f, err := forms.ReadPause(values, noun)
		if err != nil {
			return err
		}
		return show(c, f)
	})
	r.Post(path, func(c *fiber.Ctx) error {
		values, err := forms.Sent(c)
		if err != nil {
			return err
		}
		f, err := forms.ReadPause(values, noun)
		if err != nil {
			return err
		}
		who, err := p.Permit(c, f.Action)
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
