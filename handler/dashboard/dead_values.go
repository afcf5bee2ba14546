package dashboard

import (
	"html/template"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler/dashboard/forms"
)

// deadValues are the values of one payload field.
type deadValues struct {
	domain.FieldValues
	Lines []*deadValue // of FieldValues.Largest
}

// Others returns how many values Lines leaves out.
func (v *deadValues) Others() int { return v.Distinct - len(v.Lines) }

type deadValue struct {
	domain.FieldValue
	// Only is the query of what was chosen with this value, and Without the query of what was chosen without it. "":
	// no query has just these.
	Only, Without template.URL
}

// Shown returns the value as the page shows it: in quotation marks if it has spaces at an end.
func (v *deadValue) Shown() string {
	if strings.TrimSpace(v.Value) != v.Value {
		return strconv.Quote(v.Value)
	}
	return v.Value
}

// values reads which values the payload field p.By has among the chosen dead letters. It also counts the dead letters.
func (d *Dashboard) values(c *fiber.Ctx, p *deadPage, filter domain.DeadFilter) error {
	path, err := domain.ParseFieldPath(p.By)
	switch {
	case err != nil:
		p.refuse(c, err.Error())
		return nil
	case d.hides(path):
		p.refuse(c, "The pages hide the values of "+p.By+".")
		return nil
	}
	found, err := d.o.Sources.Dead.Values(c.UserContext(), filter, path, deadGrouped)
	if err != nil {
		return err
	}
	p.Values = &deadValues{FieldValues: found}
	for _, v := range found.Largest {
		line := &deadValue{FieldValue: v}
		line.Only, line.Without = p.Among(p.By, &v)
		p.Values.Lines = append(p.Values.Lines, line)
	}
	return d.countDead(c.UserContext(), p, filter)
}

// hiddenFrom returns which values are hidden from the visitor.
func (d *Dashboard) hiddenFrom(c *fiber.Ctx) forms.Hides {
	if d.o.Visitor(c).May(access.Unmask) {
		return func(string) bool { return false }
	}
	return d.mask.Hides
}

// hides reports whether the pages hide the values at a path of payloads.
func (d *Dashboard) hides(path []string) bool { return slices.ContainsFunc(path, d.mask.Hides) }

// deadFields sends the names of payload fields that the chosen dead letters have, but for those whose values the pages
// hide. A field of the form suggests them.
func (d *Dashboard) deadFields(c *fiber.Ctx) error {
	p, filter, err := d.readDead(c)
	if err != nil {
		return err
	}
	var names []string
	if p.Fault == "" {
		if names, err = d.o.Sources.Dead.Fields(c.UserContext(), filter); err != nil {
			return err
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return d.hides(strings.Split(name, ".")) })
	return d.fragment(c, "names", Page{Template: "dead", Data: names})
}
