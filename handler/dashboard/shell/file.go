package shell

import (
	"bufio"
	"context"
	"io"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/export"
	"outboxd/handler/dashboard/live"
)

// firstPatience is how long SendFile waits for the first row before the file begins.
const firstPatience = 3 * time.Second

// SendFile streams a file in the form that the query asks for, CSV or JSON. The parameter name has no ending. If the
// file cannot be written in full, SendFile cuts the connection, so that the browser does not
// take a part for the whole file. If the client closes the connection, the context of the function write ends.
//
// Before the file begins, SendFile calls the function first, which reads one row. So an outage, or a filter that
// PostgreSQL refuses, gets an answer that says so. SendFile waits at most firstPatience for that row.
func (s *Shell) SendFile(c *fiber.Ctx, name string, first func(context.Context) error, write func(ctx context.Context, w io.Writer, form string) error) error {
	form := c.Query("as")
	if err := export.Check(form); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), firstPatience)
	defer cancel()
	if err := first(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	mediaType := "text/csv; charset=utf-8"
	if form == export.JSON {
		mediaType = fiber.MIMEApplicationJSON
	}
	c.Set(fiber.HeaderContentType, mediaType)
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+name+"."+form+`"`)
	if c.Method() == fiber.MethodHead {
		return nil // with a stream, the server would begin to write the file, and then cut the connection
	}
	connection := c.Context().Conn()
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		ctx, stop := whileConnected(s.Lasting, connection)
		defer stop()
		// A panic in this goroutine would end the process.
		err := domain.Recovered("panic", func() error { return write(ctx, patient{w, connection}, form) })
		if err == nil {
			return
		}
		left := ctx.Err() != nil // the client is gone, or the pages are closed
		_ = connection.Close()
		if !left {
			s.Logger.WarnContext(ctx, "a file could not be sent in full", "file", name+"."+form, "error", err)
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
