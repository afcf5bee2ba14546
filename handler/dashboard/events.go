package dashboard

import (
	"context"
	"html/template"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard/forms"
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
func (d *Dashboard) events(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	s := eventsPage{States: lives.States(), First: values.Get("after") == ""}
	var filter lives.Filter
	s.Events, filter, err = forms.ReadEvents(values, d.hiddenFrom(c))
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
	case d.o.Sources.Lives == nil:
		return errNoDatabase()
	default:
		if s.Page, err = d.o.Sources.Lives.Search(c.UserContext(), filter, after, eventsShown); err != nil {
			return err
		}
		if s.Matched, err = d.matched(c.UserContext(), &s, filter); err != nil {
			return err
		}
		if !s.Page.Next.IsZero() {
			s.Next = s.Query(forms.Pair{Name: "after", Value: s.Page.Next.String()})
		}
	}
	return d.Render(c, Page{Template: "events", Title: "Events", Section: SectionEvents, Data: &s})
}

// matched counts the events that match, up to one more than eventsCounted. On the first page it counts only if there is
// another page and the search did not stop early: a count reads no further than such a search.
func (d *Dashboard) matched(ctx context.Context, p *eventsPage, filter lives.Filter) (lives.Counted, error) {
	if p.First && (p.Page.Next.IsZero() || p.Page.GaveUp) {
		return lives.Counted{Events: int64(len(p.Page.Events)), All: !p.Page.GaveUp && !p.Page.Incomplete}, nil
	}
	return d.o.Sources.Lives.Count(ctx, filter, eventsCounted+1, eventsPatience)
}

func errNoDatabase() error {
	return domain.Errorf(domain.CodeUnavailable, "this process has no database to look into")
}
