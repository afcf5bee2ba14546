package events

import (
	"context"
	"html/template"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
)

const (
	eventsShown   = 50     // events on a page
	eventsCounted = 10_000 // at most so many matching events are counted
	// eventsPatience is how long the matching events are counted.
	eventsPatience = 100 * time.Millisecond
)

// eventsPage is the data of the page of events: the search form and the events found.
type eventsPage struct {
	forms.Events
	States  []lives.State // that the form offers
	Page    lives.Page
	Next    template.URL // the query of the next page; "" at the end
	First   bool         // whether this is the first page
	Chooses bool         // see forms.ChoosesEvents
	Matched lives.Counted
}

// Many reports whether more events match than the page counts.
func (p *eventsPage) Many() bool { return p.Matched.Events > eventsCounted }

// events shows the search form and a page of matching events. If the visitor entered an
// ID, events redirects to that event's page.
func (p *Pages) events(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	s := eventsPage{States: lives.States(), First: values.Get("after") == ""}
	var filter lives.Filter
	s.Events, filter, err = forms.ReadEvents(values, p.HiddenFrom(c))
	s.Chooses = forms.ChoosesEvents(filter)
	var after domain.ID
	if err == nil && !s.First {
		after, err = domain.ParseID(values.Get("after"))
	}
	switch {
	case err != nil:
		s.Fault = err.Error()
		c.Status(fiber.StatusUnprocessableEntity)
	case s.ID != "":
		return c.Redirect("./events/"+filter.ID.String(), fiber.StatusSeeOther)
	case p.Lives == nil:
		return shell.NoDatabase()
	default:
		if s.Page, err = p.Lives.Search(c.UserContext(), filter, after, eventsShown); err != nil {
			return err
		}
		if s.Matched, err = p.matched(c.UserContext(), &s, filter); err != nil {
			return err
		}
		if !s.Page.Next.IsZero() {
			s.Next = s.Query(forms.Pair{Name: "after", Value: s.Page.Next.String()})
		}
	}
	return p.Render(c, shell.Page{Template: "events", Title: "Events", Section: shell.SectionEvents, Data: &s})
}

// matched counts the events that match, up to one more than eventsCounted. On the first page it counts only if there is
// another page and the search did not stop early: after such a search, a count would not read further either.
func (p *Pages) matched(ctx context.Context, page *eventsPage, filter lives.Filter) (lives.Counted, error) {
	if page.First && (page.Page.Next.IsZero() || page.Page.GaveUp) {
		return lives.Counted{Events: int64(len(page.Page.Events)), All: !page.Page.GaveUp && !page.Page.Incomplete}, nil
	}
	return p.Lives.Count(ctx, filter, eventsCounted+1, eventsPatience)
}
