package dashboard

import (
	"context"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
)

const (
	canaryPatience = 5 * time.Minute
	deadCounted    = 10_000 // at most so many dead letters are counted before a page opens
)

// confirmChange asks for a reason, and says how many dead letters the change
// covers. The change does not cover events that die later.
func (d *Dashboard) confirmChange(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadChange(values, d.hiddenFrom(c))
	if err != nil {
		return err
	}
	return d.changeForm(c, f, filter)
}

func (d *Dashboard) changeForm(c *fiber.Ctx, f forms.Change, filter domain.DeadFilter) error {
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	limit, patience := deadCounted, d.patience(c, f.Action)
	if patience == countLonger {
		limit = 0
	}
	var err error
	if f.DeadCount, err = d.o.Sources.Dead.Count(c.UserContext(), filter, limit, patience); err != nil {
		return err
	}
	f.Counting = d.asksAgain(c, f.Action, f.More)
	f.Paused = d.paused(c.UserContext(), f.Action, f.Queues)
	f.Fix(filter, f.At)
	return d.confirmation(c, Page{Template: "change", Title: "Confirm", Section: SectionDead, Data: &f})
}

// startChange begins the change that the visitor confirmed, and redirects to the
// page that shows the change's progress.
func (d *Dashboard) startChange(c *fiber.Ctx) error {
	values, err := forms.Sent(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadChange(values, d.hiddenFrom(c))
	if err != nil {
		return err
	}
	who, err := d.permit(c, f.Action)
	if err != nil {
		return err
	}
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
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
		return d.changeForm(c, f, filter)
	}
	if f.DeadCount, err = d.o.Sources.Dead.Count(c.UserContext(), filter, deadCounted, countBriefly); err != nil {
		return err
	}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.Said()}
	id, err := d.beginChange(f, func(ctx context.Context, tell func(replay.Progress)) error {
		if f.Action == "discard" {
			return replay.DiscardAll(ctx, d.o.Sources.Dead, action, filter, tell)
		}
		letters := replay.Replay{
			Letters: d.o.Sources.Dead, Action: action, Filter: filter, Unconfirmed: d.o.Sources.Unconfirmed,
			Pace: replay.Pace{Rate: rate, Canary: canary, CanaryTimeout: canaryPatience},
		}
		return letters.Run(ctx, tell)
	})
	if err != nil {
		return err
	}
	return c.Redirect("../changes/"+strconv.Itoa(id), fiber.StatusSeeOther)
}

// change shows the progress of a change.
func (d *Dashboard) change(c *fiber.Ctx) error {
	id, _ := strconv.Atoi(c.Params("id"))
	change, known := d.changes.find(id)
	if !known {
		return domain.Errorf(domain.CodeNotFound, "this process knows nothing of that change; the record of actions may")
	}
	change.Form.Paused = d.paused(c.UserContext(), change.Form.Action, change.Form.Queues)
	words := change.Words()
	p := Page{Template: "changing", Title: words.Title, Section: Section(words.Path), Data: change}
	if c.Get("HX-Request") != "" {
		return d.fragment(c, "progress", p)
	}
	return d.Render(c, p)
}
