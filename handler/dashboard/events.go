package dashboard

import (
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// eventsShown is how many events a page lists.
const eventsShown = 50

// eventSearch has the input of the search form and the events found.
type eventSearch struct {
	ID, Type, Queue, Key, State, Since, Until, Header string
	States                                            []domain.EventState
	Fault                                             string // what is wrong with the form
	Page                                              domain.EventPage
	Next                                              template.URL // the query of the next page; "" at the end
	First                                             bool         // whether this is the first page
}

// events shows the search form and a page of matching events. If the visitor
// entered an ID, it redirects to that event's page.
func (d *Dashboard) events(c *fiber.Ctx) error {
	s := eventSearch{
		ID: strings.TrimSpace(c.Query("id")), Type: c.Query("type"), Queue: c.Query("queue"), Key: c.Query("key"), State: c.Query("state"),
		Since: c.Query("since"), Until: c.Query("until"), Header: c.Query("header"),
		States: domain.EventStates(), First: c.Query("after") == "",
	}
	filter, after, err := s.read(c.Query("after"))
	switch {
	case err != nil && domain.ErrorCode(err) == domain.CodeInvalid:
		s.Fault = err.Error()
		c.Status(fiber.StatusUnprocessableEntity)
	case err != nil:
		return err
	case s.ID != "":
		return c.Redirect("./events/"+filter.ID.String(), fiber.StatusSeeOther)
	case d.o.Sources.Lives == nil:
		return errNoDatabase()
	default:
		if s.Page, err = d.o.Sources.Lives.Search(c.UserContext(), filter, after, eventsShown); err != nil {
			return err
		}
		if !s.Page.Next.IsZero() {
			s.Next = s.query(s.Page.Next)
		}
	}
	return d.Render(c, Page{Template: "events", Title: "Events", Section: SectionEvents, Data: s})
}

func errNoDatabase() error {
	return domain.Errorf(domain.CodeUnavailable, "this process has no database to look into")
}

// read returns the filter of the form. Its errors have domain.CodeInvalid.
func (s *eventSearch) read(after string) (domain.EventFilter, domain.ID, error) {
	f := domain.EventFilter{Type: s.Type, Queue: s.Queue, OrderingKey: s.Key}
	f.HeaderName, f.HeaderValue, _ = strings.Cut(s.Header, "=")
	var before domain.ID
	var err error
	now := time.Now()
	for _, field := range []struct {
		text string
		read func(text string) error
	}{
		{s.ID, func(text string) (err error) { f.ID, err = domain.EventID(text); return err }},
		{s.State, func(text string) (err error) { f.State, err = domain.ParseEventState(text); return err }},
		{s.Since, func(text string) (err error) { f.Since, err = domain.ParseMoment(text, now); return err }},
		{s.Until, func(text string) (err error) { f.Until, err = domain.ParseMoment(text, now); return err }},
		{after, func(text string) (err error) { before, err = domain.ParseID(text); return err }},
	} {
		if field.text != "" && err == nil {
			err = field.read(field.text)
		}
	}
	return f, before, err
}

// query returns the form as a URL query for the next page, which begins after the
// given event.
func (s *eventSearch) query(after domain.ID) template.URL {
	q := url.Values{"after": {after.String()}}
	for name, value := range map[string]string{
		"type": s.Type, "queue": s.Queue, "key": s.Key, "state": s.State, "since": s.Since, "until": s.Until, "header": s.Header,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return encoded(q)
}
