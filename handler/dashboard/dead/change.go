package dead

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
)

const deadCounted = 10_000 // at most so many dead letters are counted before a page opens

// confirmChange asks for a reason, and says how many dead letters the change
// covers. The change does not cover events that die later.
func (p *Pages) confirmChange(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadChange(values, p.HiddenFrom(c))
	if err != nil {
		return err
	}
	return p.changeForm(c, f, filter)
}

func (p *Pages) changeForm(c *fiber.Ctx, f forms.Change, filter domain.DeadFilter) error {
	if p.Letters == nil {
		return shell.NoDatabase()
	}
	limit, patience := deadCounted, p.Changes.Patience(c, f.Action)
	if patience == changes.CountLonger {
		limit = 0
	}
	var err error
	if f.DeadCount, err = p.Letters.Count(c.UserContext(), filter, limit, patience); err != nil {
		return err
	}
	f.Counting = p.Changes.AsksAgain(c, f.Action, f.More)
	f.Paused = p.Changes.Paused(c.UserContext(), f.Action, f.Queues)
	f.Fix(filter, f.At)
	return p.Changes.Confirmation(c, shell.Page{Template: "change", Title: "Confirm", Section: shell.SectionDead, Data: &f})
}

// startChange begins the change that the visitor confirmed, and redirects to the
// page that shows the change's progress.
func (p *Pages) startChange(c *fiber.Ctx) error {
	values, err := forms.Sent(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadChange(values, p.HiddenFrom(c))
	if err != nil {
		return err
	}
	who, err := p.Permit(c, f.Action)
	if err != nil {
		return err
	}
	if p.Letters == nil {
		return shell.NoDatabase()
	}
	canary, fault := forms.ReadCanary(f.Canary)
	rate, wrongRate := forms.ReadRate(f.Rate)
	switch {
	case f.Reason == "":
		f.Fault = "Say why, for the record."
	case fault != "":
		f.Fault = fault
	case wrongRate != "":
		f.Fault = wrongRate
	case filter.Until.IsZero():
		f.Fault = "Confirm once more."
	}
	if f.Fault != "" {
		c.Status(fiber.StatusUnprocessableEntity)
		return p.changeForm(c, f, filter)
	}
	if f.DeadCount, err = p.Letters.Count(c.UserContext(), filter, deadCounted, changes.CountBriefly); err != nil {
		return err
	}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.Said()}
	return p.Changes.Begin(c, f, func(ctx context.Context, tell func(replay.Progress)) error {
		if f.Action == "discard" {
			return replay.DiscardAll(ctx, p.Letters, action, filter, tell)
		}
		letters := replay.Replay{
			Letters: p.Letters, Action: action, Filter: filter, Unconfirmed: p.Unconfirmed,
			Pace: replay.Pace{Rate: rate, Canary: canary, CanaryTimeout: changes.CanaryPatience},
		}
		return letters.Run(ctx, tell)
	})
}
