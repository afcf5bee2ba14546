package dead

import (
	"context"
	"html/template"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
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
	Values      *deadValues // nil if By is ""
	More        bool        // groups, or older dead letters, may have been left out
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
	// OtherErrors is the query of the chosen dead letters of this type that have other errors. The query names the
	// type, so that nobody replays the dead letters of other types by mistake. It is "" if there can be none.
	OtherErrors template.URL
	OtherTypes  template.URL // the query of the chosen dead letters of other types
}

// readDead reads the query of the address. If the query is wrong, the form shows what is
// wrong with it, and the page lists nothing.
func (p *Pages) readDead(c *fiber.Ctx) (page deadPage, filter domain.DeadFilter, err error) {
	if p.Letters == nil {
		return page, filter, shell.NoDatabase()
	}
	values, err := forms.Asked(c)
	if err != nil {
		return page, filter, err
	}
	page.Dead, filter, err = forms.ReadDead(values, p.HiddenFrom(c))
	if err != nil {
		page.refuse(c, err.Error())
	}
	page.Chooses, page.By = forms.ChoosesDead(filter), forms.GroupedBy(values)
	return page, filter, nil
}

// refuse lets the page say what is wrong with the query.
func (p *deadPage) refuse(c *fiber.Ctx, fault string) {
	p.Fault = fault
	c.Status(fiber.StatusUnprocessableEntity)
}

// dead serves the page of dead letters: grouped by type and error or by a payload field, with
// the latest actions of people.
func (p *Pages) dead(c *fiber.Ctx) error {
	page, filter, err := p.readDead(c)
	if err != nil {
		return err
	}
	switch {
	case page.Fault != "":
	case page.By != "":
		err = p.values(c, &page, filter)
	default:
		err = p.groups(c.UserContext(), &page, filter)
	}
	if err != nil {
		return err
	}
	if page.Actions, err = p.Letters.Actions(c.UserContext(), domain.ID{}, actionsShown); err != nil {
		return err
	}
	return p.Render(c, shell.Page{Template: "dead", Title: "Dead letters", Section: shell.SectionDead, Data: &page})
}

// groups reads the chosen dead letters from the database, grouped by type and error. It
// also counts them.
func (p *Pages) groups(ctx context.Context, page *deadPage, filter domain.DeadFilter) error {
	groups, more, err := p.Letters.Groups(ctx, filter, deadGrouped)
	if err != nil {
		return err
	}
	page.More = more
	types := map[string]bool{}
	for _, g := range groups {
		page.Groups = append(page.Groups, deadGroup{g, page.Only(&g), page.OtherErrors(&g), page.OtherTypes(g.Type)})
		page.Matched += int64(g.Count)
		types[g.Type] = true
	}
	page.Types = len(types)
	if more {
		return p.countDead(ctx, page, filter)
	}
	return nil
}

// countDead counts the chosen dead letters. If the time is not enough, countDead takes the
// number of those on the page as the number that is known.
func (p *Pages) countDead(ctx context.Context, page *deadPage, filter domain.DeadFilter) error {
	n, err := p.Letters.Count(ctx, filter, deadCounted, changes.CountBriefly)
	if n.More && n.Matched == 0 {
		n.Matched, n.Types = max(page.Matched, int64(len(page.Letters))), page.Types
	}
	page.Matched, page.Types, page.MoreMatched = n.Matched, n.Types, n.More
	return err
}

// deadGroup lists the chosen dead letters, those that died first at the top.
func (p *Pages) deadGroup(c *fiber.Ctx) error {
	page, filter, err := p.readDead(c)
	if err != nil {
		return err
	}
	after, err := domain.ParseCursor(c.Query("after"))
	if err != nil {
		return err
	}
	if page.Fault == "" {
		if page.Letters, err = p.Letters.List(c.UserContext(), filter, after, deadShown); err != nil {
			return err
		}
		if err = p.countDead(c.UserContext(), &page, filter); err != nil {
			return err
		}
	}
	if len(page.Letters) == deadShown {
		page.Next = page.Query(forms.Pair{Name: "after", Value: page.Letters[deadShown-1].Cursor().String()})
	}
	if c.Query("after") != "" {
		page.First = page.Query()
	}
	return p.Render(c, shell.Page{Template: "dead-group", Title: "Dead letters", Section: shell.SectionDead, Data: &page})
}
