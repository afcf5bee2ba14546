package dashboard

import (
	"html/template"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

const (
	deadGrouped  = 10_000 // of the dead letters that died last
	deadShown    = 50
	actionsShown = 20
)

// deadPage has the groups of dead letters, or the dead letters of one group.
type deadPage struct {
	Groups      []deadGroup
	More        bool // older dead letters were not grouped
	Actions     []domain.RecordedAction
	Type, Error string // of the chosen group
	Letters     []domain.DeadLetter
	Next        template.URL // the query of the next page
}

type deadGroup struct {
	domain.DeadGroup
	Query template.URL
}

// dead shows the dead letters grouped by type and error, and the latest actions of
// people.
func (d *Dashboard) dead(c *fiber.Ctx) error {
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	groups, more, err := d.o.Sources.Dead.Groups(c.UserContext(), deadGrouped)
	if err != nil {
		return err
	}
	p := deadPage{More: more}
	for _, g := range groups {
		p.Groups = append(p.Groups, deadGroup{g, encoded(groupQuery(g.Type, g.ErrorForm))})
	}
	if p.Actions, err = d.o.Sources.Dead.Actions(c.UserContext(), actionsShown); err != nil {
		return err
	}
	return d.Render(c, Page{Template: "dead", Title: "Dead letters", Section: SectionDead, Data: p})
}

func groupQuery(kind, form string) url.Values { return url.Values{"type": {kind}, "error": {form}} }

// encoded returns a URL query as a type that templates do not escape again.
func encoded(q url.Values) template.URL {
	return template.URL(q.Encode()) //nolint:gosec // Encode leaves nothing that could end an attribute
}

// deadGroup shows the dead letters of one group, the oldest first.
func (d *Dashboard) deadGroup(c *fiber.Ctx) error {
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	p := deadPage{Type: c.Query("type"), Error: c.Query("error")}
	after, err := domain.ParseCursor(c.Query("after"))
	if err != nil {
		return err
	}
	letters, err := d.o.Sources.Dead.List(c.UserContext(), domain.DeadFilter{Type: p.Type, ErrorForm: p.Error}, after, deadShown)
	if err != nil {
		return err
	}
	p.Letters = letters
	if len(letters) == deadShown {
		q := groupQuery(p.Type, p.Error)
		q.Set("after", letters[deadShown-1].Cursor().String())
		p.Next = encoded(q)
	}
	return d.Render(c, Page{Template: "dead-group", Title: "Dead letters of " + p.Type, Section: SectionDead, Data: p})
}
