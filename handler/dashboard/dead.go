package dashboard

import (
	"cmp"
	"context"
	"html/template"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler/dashboard/forms"
)

const (
	deadGrouped  = 10_000 // only so many dead letters are grouped: those that died last
	deadShown    = 50
	actionsShown = 20
)

// deadPage is the data of the page of dead letters: the groups of the chosen dead
// letters, or the dead letters one by one.
type deadPage struct {
	forms.Dead
	Chooses     bool   // the query leaves out some dead letters; see forms.ChoosesDead
	By          string // the payload field by whose values they are grouped; "": grouped by type and error
	Groups      []deadGroup
	Values      *deadValues // set if By is
	More        bool        // there are older dead letters, which were not grouped
	Matched     int64
	Types       int  // how many types the matched dead letters have
	MoreMatched bool // there may be more dead letters than Matched
	Actions     []domain.RecordedAction
	Letters     []domain.DeadLetter
	First       template.URL // the query of the first page; "" on the first page
	Next        template.URL // the query of the next page; "" if this page is not full
}

type deadGroup struct {
	domain.DeadGroup
	Only template.URL // the query of the group alone
	// OtherErrors is the query of what was chosen, without errors like these. It has a type, so that nobody replays the
	// dead letters of other types by mistake.
	OtherErrors template.URL
	OtherTypes  template.URL // the query of what was chosen, without this type
}

// readDead reads the query of the address. If the query is wrong, the form shows what is
// wrong with it, and the page lists nothing.
func (d *Dashboard) readDead(c *fiber.Ctx) (p deadPage, filter domain.DeadFilter, err error) {
	if d.o.Sources.Dead == nil {
		return p, filter, errNoDatabase()
	}
	values, err := forms.Asked(c)
	if err != nil {
		return p, filter, err
	}
	p.Dead, filter, err = forms.ReadDead(values, d.hiddenFrom(c))
	if err != nil {
		p.refuse(c, err.Error())
	}
	p.Chooses, p.By = forms.ChoosesDead(filter), forms.GroupedBy(values)
	return p, filter, nil
}

// refuse lets the page say what is wrong with the query.
func (p *deadPage) refuse(c *fiber.Ctx, fault string) {
	p.Fault = fault
	c.Status(fiber.StatusUnprocessableEntity)
}

// dead serves the page of dead letters: grouped by type and error or by a payload field, with
// the latest actions of people.
func (d *Dashboard) dead(c *fiber.Ctx) error {
	p, filter, err := d.readDead(c)
	if err != nil {
		return err
	}
	switch {
	case p.Fault != "":
	case p.By != "":
		err = d.values(c, &p, filter)
	default:
		err = d.groups(c.UserContext(), &p, filter)
	}
	if err != nil {
		return err
	}
	if p.Actions, err = d.o.Sources.Dead.Actions(c.UserContext(), domain.ID{}, actionsShown); err != nil {
		return err
	}
	return d.Render(c, Page{Template: "dead", Title: "Dead letters", Section: SectionDead, Data: &p})
}

// groups reads the chosen dead letters from the database, grouped by type and error. It
// also counts them.
func (d *Dashboard) groups(ctx context.Context, p *deadPage, filter domain.DeadFilter) error {
	groups, more, err := d.o.Sources.Dead.Groups(ctx, filter, deadGrouped)
	if err != nil {
		return err
	}
	p.More = more
	types := map[string]bool{}
	for _, g := range groups {
		only := p.Dead
		only.Type, only.ErrorForm, only.NotErrorForms = g.Type, g.ErrorForm, nil
		others := p.Dead
		others.IDs = nil
		sameType := others
		sameType.Type = cmp.Or(p.Type, g.Type)
		p.Groups = append(p.Groups, deadGroup{g, only.Query(), sameType.Query(forms.Pair{Name: "not-error-form", Value: g.ErrorForm}), others.Query(forms.Pair{Name: "not-type", Value: g.Type})})
		p.Matched += int64(g.Count)
		types[g.Type] = true
	}
	p.Types = len(types)
	if more {
		return d.countDead(ctx, p, filter)
	}
	return nil
}

// countDead counts the chosen dead letters. If the time is not enough for that, at least those
// on the page are known.
func (d *Dashboard) countDead(ctx context.Context, p *deadPage, filter domain.DeadFilter) error {
	n, err := d.o.Sources.Dead.Count(ctx, filter, deadCounted, countBriefly)
	if n.More && n.Matched == 0 {
		n.Matched, n.Types = max(p.Matched, int64(len(p.Letters))), p.Types
	}
	p.Matched, p.Types, p.MoreMatched = n.Matched, n.Types, n.More
	return err
}

// deadGroup lists the chosen dead letters, those that died first at the top.
func (d *Dashboard) deadGroup(c *fiber.Ctx) error {
	p, filter, err := d.readDead(c)
	if err != nil {
		return err
	}
	after, err := domain.ParseCursor(c.Query("after"))
	if err != nil {
		return err
	}
	if p.Fault == "" {
		if p.Letters, err = d.o.Sources.Dead.List(c.UserContext(), filter, after, deadShown); err != nil {
			return err
		}
		if err = d.countDead(c.UserContext(), &p, filter); err != nil {
			return err
		}
	}
	if len(p.Letters) == deadShown {
		p.Next = p.Query(forms.Pair{Name: "after", Value: p.Letters[deadShown-1].Cursor().String()})
	}
	if c.Query("after") != "" {
		p.First = p.Query()
	}
	return d.Render(c, Page{Template: "dead-group", Title: "Dead letters", Section: SectionDead, Data: &p})
}
