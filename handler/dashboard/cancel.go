package dashboard

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/lives"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
)

const (
	// cancelledAtOnce is how many events one transaction cancels.
	cancelledAtOnce = 100
	// cancelPage is how many events one search returns at most.
	cancelPage = 500
	// The count of events before the visitor confirms stops once it has reached
	// cancelCounted.
	cancelCounted = 5000
)

// cancellable reports whether the cancellation of an event in this state is tried. It may
// still be too late then.
func cancellable(state lives.State) bool {
	return slices.Contains([]lives.State{lives.StatePending, lives.StateHeld, lives.StateInFlight, lives.StateFailing}, state)
}

// confirmCancel asks for a reason, and says how many events can be cancelled.
func (d *Dashboard) confirmCancel(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadCancel(values)
	if err != nil {
		return err
	}
	return d.cancelForm(c, &f, filter)
}

func (d *Dashboard) cancelForm(c *fiber.Ctx, f *forms.Cancel, filter lives.Filter) error {
	if d.o.Sources.Current == nil {
		return errNoDatabase()
	}
	begun := time.Now()
	err := d.eachCancellable(c.UserContext(), filter, func(ids []domain.ID) error {
		if f.Matched += int64(len(ids)); f.Matched >= cancelCounted || time.Since(begun) > countPatience {
			f.More = true
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return d.Render(c, Page{Template: "cancel", Title: "Cancel events", Section: SectionEvents, Data: f})
}

// errEnough makes eachCancellable stop, because enough events were counted.
var errEnough = errors.New("enough was counted")

// eachCancellable calls do with the events that a filter chooses and that can be
// cancelled, page by page. eachCancellable stops after the last page, or when do returns
// an error.
func (d *Dashboard) eachCancellable(ctx context.Context, filter lives.Filter, do func(ids []domain.ID) error) error {
	for before := (domain.ID{}); ; {
		page, err := d.o.Sources.Current.Search(ctx, filter, before, cancelPage)
		if err != nil {
			return err
		}
		var ids []domain.ID
		for i := range page.Events {
			if cancellable(page.Events[i].State) {
				ids = append(ids, page.Events[i].ID)
			}
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
	f, filter, err := forms.ReadCancel(values)
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
	return c.Redirect("../dead/changes/"+strconv.Itoa(id), fiber.StatusSeeOther)
}
