package events

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/export"
	"outboxd/domain/lives"
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
	reader := sure{p.Lives}
	first := func(ctx context.Context) error {
		flying := filter
		flying.NotStates = append(slices.Clip(filter.NotStates), lives.StatePending, lives.StateHeld, lives.StateConfirmed, lives.StateDead, lives.StateSuppressed, lives.StateCancelled)
		if _, err := reader.Search(ctx, flying, domain.ID{}, 1); err != nil {
			return err
		}
		_, err := reader.Search(ctx, filter, domain.ID{}, 1)
		return err
	}
	return p.SendFile(c, "events", first, func(ctx context.Context, w io.Writer, form string) error {
		_, _, err := export.Events(ctx, w, form, reader, filter)
		return err
	})
}

// sure is a reader whose searches fail if Redis does not say which events are failing. A file has no place for a notice
// that they are listed as in flight.
type sure struct{ lives.Reader }

func (s sure) Search(ctx context.Context, filter lives.Filter, before domain.ID, limit int) (lives.Page, error) {
	page, err := s.Reader.Search(ctx, filter, before, limit)
	if err == nil && page.QueueFault != "" {
		err = domain.Wrap(domain.CodeUnavailable, errors.New(page.QueueFault), "Redis does not say which events are failing, so they would be in the file as in flight; try again when Redis answers")
	}
	return page, err
}
