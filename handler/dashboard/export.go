package dashboard

import (
	"bufio"
	"context"
	"io"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/access"
	"outboxd/domain/export"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/live"
	"outboxd/handler/dashboard/masking"
)

// exportDead sends the chosen dead letters as a file. The file hides what the pages hide from the
// visitor, but has long texts in full.
func (d *Dashboard) exportDead(c *fiber.Ctx) error {
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	_, filter, err := forms.ReadDead(values, d.hiddenFrom(c))
	if err != nil {
		return err
	}
	unmasks := d.o.Visitor(c).May(access.Unmask)
	hidden := export.Hidden{
		Payload: func(raw []byte) (text, encoded string) {
			shown := d.mask.Whole(raw)
			if shown.Form == "hexadecimal" || shown.Withheld && unmasks {
				return export.Payload(raw)
			}
			return shown.Text, ""
		},
		Header: func(name, value string) string {
			if d.mask.Hides(name) {
				return masking.Hidden
			}
			return value
		},
	}
	return d.sendFile(c, "dead-letters", func(ctx context.Context, w io.Writer, form string) error {
		_, err := export.DeadLetters(ctx, w, form, d.o.Sources.Dead, filter, hidden)
		return err
	})
}

// exportEvents sends the events that the search form chooses as a file.
func (d *Dashboard) exportEvents(c *fiber.Ctx) error {
	if d.o.Sources.Lives == nil {
		return errNoDatabase()
	}
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	_, filter, err := forms.ReadEvents(values, d.hiddenFrom(c))
	if err != nil {
		return err
	}
	return d.sendFile(c, "events", func(ctx context.Context, w io.Writer, form string) error {
		_, _, err := export.Events(ctx, w, form, d.o.Sources.Lives, filter)
		return err
	})
}

// sendFile streams a file in the form that the query asks for, CSV or JSON. If the file
// cannot be written in full, sendFile cuts the connection, so that the browser does not
// take a part for the whole file.
func (d *Dashboard) sendFile(c *fiber.Ctx, name string, write func(ctx context.Context, w io.Writer, form string) error) error {
	form := c.Query("as")
	if err := export.Check(form); err != nil {
		return err
	}
	mediaType := "text/csv; charset=utf-8"
	if form == export.JSON {
		mediaType = fiber.MIMEApplicationJSON
	}
	c.Set(fiber.HeaderContentType, mediaType)
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+name+"."+form+`"`)
	connection := c.Context().Conn()
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		if err := write(d.changes.ctx, patient{w, connection}, form); err != nil {
			_ = connection.Close()
		}
	})
	return nil
}

// patient sets a new deadline for each part of a streamed file, because the server's own
// deadline is for a whole answer. A large file may take longer.
type patient struct {
	io.Writer
	connection net.Conn
}

func (p patient) Write(part []byte) (int, error) {
	if err := p.connection.SetWriteDeadline(time.Now().Add(live.Patience)); err != nil {
		return 0, err
	}
	return p.Writer.Write(part)
}
