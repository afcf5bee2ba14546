package dashboard

import (
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/lives"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
)

const (
	// cancelledAtOnce is how many events one transaction cancels at most.
	cancelledAtOnce = 100
	// cancelPage is how many events one search returns at most.
	cancelPage = 500
)

// confirmCancel asks for a reason, and says how many events the cancellation covers.
func (d *Dashboard) confirmCancel(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadCancel(values, d.hiddenFrom(c))
	if err != nil {
		return err
	}
	return d.cancelForm(c, &f, filter)
}

func (d *Dashboard) cancelForm(c *fiber.Ctx, f *forms.Cancel, filter lives.Filter) error {
	if d.o.Sources.Current == nil {
		return errNoDatabase()
	}
	counted, err := d.o.Sources.Current.Count(c.UserContext(), filter, math.MaxInt, d.patience(c, access.Cancel))
	if err != nil {
		return err
	}
	f.Matched, f.More = counted.Events, !counted.All
	f.Counting = d.asksAgain(c, access.Cancel, f.More)
	return d.confirmation(c, Page{Template: "cancel", Title: "Cancel events", Section: SectionEvents, Data: f})
}

// eachCancellable calls the function do with the events that a filter of forms.ReadCancel
// chooses, page by page. For some of them it may be too late to cancel them. eachCancellable
// stops after the last page, or when the function returns an error.
func (d *Dashboard) eachCancellable(ctx context.Context, filter lives.Filter, do func(ids []domain.ID) error) error {
	for before := (domain.ID{}); ; {
		page, err := d.o.Sources.Current.Search(ctx, filter, before, cancelPage)
		if err != nil {
			return err
		}
		ids := make([]domain.ID, len(page.Events))
		for i := range page.Events {
			ids[i] = page.Events[i].ID
		}
		if err := do(ids); err != nil {
			return err
		}
		if before = page.Next; before.IsZero() {
			return nil
		}
	}
}

// startCancel begins the confirmed cancellation, and redirects to the page that shows the
// progress.
func (d *Dashboard) startCancel(c *fiber.Ctx) error {
	values, err := forms.Sent(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadCancel(values, d.hiddenFrom(c))
	if err != nil {
		return err
	}
	if d.o.Sources.Changes == nil {
		return errNoDatabase()
	}
	if f.Reason == "" {
		f.Fault = "Say why, for the record."
		c.Status(fiber.StatusUnprocessableEntity)
		return d.cancelForm(c, &f, filter)
	}
	who, err := d.permit(c, access.Cancel)
	if err != nil {
		return err
	}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.Said()}
	id, err := d.beginChange(forms.Change{Action: "cancel"}, func(ctx context.Context, tell func(replay.Progress)) error {
		var p replay.Progress
		err := d.eachCancellable(ctx, filter, func(ids []domain.ID) error {
			for some := range slices.Chunk(ids, cancelledAtOnce) {
				answers, err := d.o.Sources.Changes.Cancel(ctx, action, some)
				for _, answer := range answers {
					if answer.Answer == domain.ChangeCancelled {
						p.Changed++
					} else {
						p.TooLate++
					}
				}
				tell(p)
				if err != nil {
					return err
				}
			}
			return nil
		})
		return d.o.Sources.Changes.End(ctx, action, err)
	})
	if err != nil {
		return err
	}
	return c.Redirect("../changes/"+strconv.Itoa(id), fiber.StatusSeeOther)
}
