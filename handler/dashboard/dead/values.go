package dead

import (
	"html/template"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler/dashboard/shell"
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
	// Only is the query of the chosen dead letters with this value, and Without the query of those without it; "" if no
	// query chooses exactly these.
	Only, Without template.URL
}

// Shown returns the value as the page shows it: in quotation marks if it has spaces at an end.
func (v *deadValue) Shown() string {
	if strings.TrimSpace(v.Value) != v.Value {
		return strconv.Quote(v.Value)
	}
	return v.Value
}

// values reads which values the payload field page.By has among the chosen dead letters. It also counts the dead letters.
func (p *Pages) values(c *fiber.Ctx, page *deadPage, filter domain.DeadFilter) error {
	path, err := domain.ParseFieldPath(page.By)
	switch {
	case err != nil:
		page.refuse(c, err.Error())
		return nil
	case p.hides(path):
		page.refuse(c, "The pages hide the values of "+page.By+".")
		return nil
	}
	found, err := p.Letters.Values(c.UserContext(), filter, path, deadGrouped)
	if err != nil {
		return err
	}
	page.Values = &deadValues{FieldValues: found}
	for _, v := range found.Largest {
		line := &deadValue{FieldValue: v}
		line.Only, line.Without = page.Among(page.By, &v)
		page.Values.Lines = append(page.Values.Lines, line)
	}
	return p.countDead(c.UserContext(), page, filter)
}

// hides reports whether the pages hide the values at a path of payloads.
func (p *Pages) hides(path []string) bool { return slices.ContainsFunc(path, p.Mask.Hides) }

// deadFields sends the names of payload fields that the chosen dead letters have, except fields whose values the pages
// hide. A field of the form suggests these names.
func (p *Pages) deadFields(c *fiber.Ctx) error {
	page, filter, err := p.readDead(c)
	if err != nil {
		return err
	}
	var names []string
	if page.Fault == "" {
		if names, err = p.Letters.Fields(c.UserContext(), filter); err != nil {
			return err
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return p.hides(strings.Split(name, ".")) })
	return p.Fragment(c, "names", shell.Page{Template: "dead", Data: names})
}
