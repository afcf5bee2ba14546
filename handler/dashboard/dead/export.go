package dead

import (
	"context"
	"io"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/export"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/masking"
	"outboxd/handler/dashboard/shell"
)

// export sends the chosen dead letters as a file. The file hides what the pages hide from the
// visitor, but has long texts in full.
func (p *Pages) export(c *fiber.Ctx) error {
	if p.Letters == nil {
		return shell.NoDatabase()
	}
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	_, filter, err := forms.ReadDead(values, p.HiddenFrom(c))
	if err != nil {
		return err
	}
	first := func(ctx context.Context) error {
		_, err := p.Letters.List(ctx, filter, domain.Cursor{}, 1)
		return err
	}
	unmasks := p.Visitor(c).May(access.Unmask)
	hidden := export.Hidden{
		Payload: func(raw []byte) (text, encoded string) {
			shown := p.Mask.Whole(raw)
			if shown.Form == "hexadecimal" || shown.Withheld && unmasks {
				return export.Payload(raw)
			}
			return shown.Text, ""
		},
		Header: func(name, value string) string {
			if p.Mask.Hides(name) {
				return masking.Hidden
			}
			return value
		},
	}
	return p.SendFile(c, "dead-letters", first, func(ctx context.Context, w io.Writer, form string) error {
		_, err := export.DeadLetters(ctx, w, form, p.Letters, filter, hidden)
		return err
	})
}
