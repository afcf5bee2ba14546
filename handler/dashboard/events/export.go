package events

import (
	"context"
	"io"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/export"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
)

// export sends the events that the search form chooses as a file.
func (p *Pages) export(c *fiber.Ctx) error {
	if p.Lives == nil {
		return shell.NoDatabase()
	}
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	_, filter, err := forms.ReadEvents(values, p.HiddenFrom(c))
	if err != nil {
		return err
	}
	first := func(ctx context.Context) error {
		_, err := p.Lives.Search(ctx, filter, domain.ID{}, 1)
		return err
	}
	return p.SendFile(c, "events", first, func(ctx context.Context, w io.Writer, form string) error {
		_, _, err := export.Events(ctx, w, form, p.Lives, filter)
		return err
	})
}
