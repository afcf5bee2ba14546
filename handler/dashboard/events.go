package dashboard

import (
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard/show"
)

// eventsShown is how many events a page lists.
const eventsShown = 50

// eventSearch has the input of the search form and the events found.
type eventSearch struct {
	ID, Type, Queue, Key, State, Since, Until, Header string
	Field, Error, Without                             string
	States                                            []lives.State
	Fault                                             string // what is wrong with the form
	Page                                              lives.Page
	Next                                              template.URL // the query of the next page; "" at the end
	First                                             bool         // whether this is the first page
	Chooses                                           bool         // see choosesEvents
}

// events shows the search form and a page of matching events. If the visitor entered an
// ID, events redirects to that event's page.
func (d *Dashboard) events(c *fiber.Ctx) error {
	s := readEventSearch(c)
	filter, after, err := s.read(c.Query("after"))
	s.Chooses = choosesEvents(filter)
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
			s.Next = s.Query(pair{"after", s.Page.Next.String()})
		}
	}
	return d.Render(c, Page{Template: "events", Title: "Events", Section: SectionEvents, Data: &s})
}

// readEventSearch reads the search form from the query of a request. It copies the texts,
// because an export still needs them after the handler has returned.
func readEventSearch(c *fiber.Ctx) eventSearch {
	return eventSearchOf(func(name string) string { return strings.Clone(c.Query(name)) })
}

func eventSearchOf(value func(name string) string) eventSearch {
	get := func(name string) string { return show.Typed(value(name)) }
	return eventSearch{
		ID: strings.TrimSpace(get("id")), Type: get("type"), Queue: get("queue"), Key: get("key"), State: get("state"), Since: get("since"), Until: get("until"), Header: get("header"),
		Field: get("field"), Error: get("error"), Without: get("without"), States: lives.States(), First: get("after") == "",
	}
}

func errNoDatabase() error {
	return domain.Errorf(domain.CodeUnavailable, "this process has no database to look into")
}

// read returns the filter of the form. Its errors have domain.CodeInvalid.
func (s *eventSearch) read(after string) (lives.Filter, domain.ID, error) {
	f := lives.Filter{Type: s.Type, Queue: s.Queue, OrderingKey: s.Key, Error: s.Error}
	if s.Without != "" {
		f.NotErrors = []string{s.Without}
	}
	var before domain.ID
	var err error
	now := time.Now()
	for _, field := range []struct {
		text string
		read func(text string) error
	}{
		{s.ID, func(text string) (err error) { f.ID, err = domain.EventID(text); return err }},
		{s.State, func(text string) (err error) { f.State, err = lives.ParseState(text); return err }},
		{s.Since, func(text string) (err error) { f.Since, err = lives.ParseMoment(text, now); return err }},
		{s.Until, func(text string) (err error) { f.Until, err = lives.ParseMoment(text, now); return err }},
		{s.Field, func(text string) (err error) { f.Payload, err = domain.ParsePayloadField(text); return err }},
		{s.Header, func(text string) (err error) { f.HeaderName, f.HeaderValue, err = domain.ParseHeader(text); return err }},
		{after, func(text string) (err error) { before, err = domain.ParseID(text); return err }},
	} {
		if field.text != "" && err == nil {
			err = field.read(field.text)
		}
	}
	return f, before, err
}

// Pairs returns what the visitor chose, as names and values.
func (s *eventSearch) Pairs() (pairs []pair) {
	for _, p := range []pair{
		{"id", s.ID},
		{"type", s.Type},
		{"queue", s.Queue},
		{"key", s.Key},
		{"state", s.State},
		{"since", s.Since},
		{"until", s.Until},
		{"header", s.Header},
		{"field", s.Field},
		{"error", s.Error},
		{"without", s.Without},
	} {
		if p.Value != "" {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// Query returns the choice, followed by more pairs, as the query of an address.
func (s *eventSearch) Query(more ...pair) template.URL {
	q := url.Values{}
	for _, p := range append(s.Pairs(), more...) {
		q.Add(p.Name, p.Value)
	}
	return show.Encoded(q)
}
