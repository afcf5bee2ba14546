package events

import (
	"context"
	"math"
	"slices"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/lives"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
)

const (
	// cancelledAtOnce is how many events one transaction cancels at most.
	cancelledAtOnce = 100
	// cancelPage is how many events one search returns at most.
	cancelPage = 500
)

// confirmCancel asks for a reason, and says how many events the cancellation covers.
func (p *Pages) confirmCancel(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadCancel(values, p.HiddenFrom(c))
	if err != nil {
		return err
	}
	return p.cancelForm(c, &f, filter)
}

func (p *Pages) cancelForm(c *fiber.Ctx, f *forms.Cancel, filter lives.Filter) error {
	if p.Current == nil {
		return shell.NoDatabase()
	}
	counted, err := p.countCancellable(c, filter)
	if err != nil {
		return err
	}
	f.Matched, f.More, f.Limited = counted.Events, !counted.All, counted.Incomplete
	f.Counting = p.Changes.AsksAgain(c, access.Cancel, f.More && !f.Limited)
	return p.Changes.Confirmation(c, shell.Page{Template: "cancel", Title: "Cancel events", Section: shell.SectionEvents, Data: f})
}

// countCancellable counts the events that a filter of forms.ReadCancel chooses. It returns an error if events would be
// cancelled that the filter leaves out, because Redis does not answer.
func (p *Pages) countCancellable(c *fiber.Ctx, filter lives.Filter) (counted lives.Counted, err error) {
	if counted, err = p.Current.Count(c.UserContext(), filter, math.MaxInt, p.Changes.Patience(c, access.Cancel)); err == nil {
		err = counted.Sure(&filter)
	}
	return counted, err
}

// eachCancellable calls the function do with the events that a filter of forms.ReadCancel
// chooses, page by page. For some of them it may be too late to cancel them. eachCancellable
// stops after the last page, or when the function returns an error. The result limited is
// lives.Page.Incomplete.
func (p *Pages) eachCancellable(ctx context.Context, filter lives.Filter, do func(ids []domain.ID) error) (limited bool, err error) {
	for before := (domain.ID{}); ; {
		page, err := p.Current.Search(ctx, filter, before, cancelPage)
		if err == nil {
			err = page.Sure(&filter)
		}
		if err != nil {
			return limited, err
		}
		limited = limited || page.Incomplete
		ids := make([]domain.ID, len(page.Events))
		for i := range page.Events {
			ids[i] = page.Events[i].ID
		}
		if err := do(ids); err != nil {
			return limited, err
		}
		if before = page.Next; before.IsZero() {
			return limited, nil
		}
	}
}

// startCancel begins the confirmed cancellation, and redirects to the page that shows the
// progress.
func (p *Pages) startCancel(c *fiber.Ctx) error {
	values, err := forms.Sent(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadCancel(values, p.HiddenFrom(c))
	if err != nil {
		return err
	}
	if p.Cancellations == nil {
		return shell.NoDatabase()
	}
	if f.Reason == "" {
		f.Fault = "Say why, for the record."
		c.Status(fiber.StatusUnprocessableEntity)
		return p.cancelForm(c, &f, filter)
	}
	who, err := p.Permit(c, access.Cancel)
	if err != nil {
		return err
	}
	if _, err = p.countCancellable(c, filter); err != nil {
		return err
	}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.Said()}
	return p.Changes.Begin(c, forms.Change{Action: access.Cancel, Token: f.Token}, func(ctx context.Context, tell func(replay.Progress)) error {
		var done replay.Progress
		limited, err := p.eachCancellable(ctx, filter, func(ids []domain.ID) error {
			for some := range slices.Chunk(ids, cancelledAtOnce) {
				answers, err := p.Cancellations.Cancel(ctx, action, some)
				for _, answer := range answers {
					if answer.Answer == domain.ChangeCancelled {
						done.Changed++
					} else {
						done.TooLate++
					}
				}
				tell(done)
				if err != nil {
					return err
				}
			}
			return nil
		})
		done.Limited = limited
		tell(done)
		return p.Cancellations.End(ctx, action, err)
	})
}
