package live

import (
	"bufio"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

const (
	// streamLife is how long one stream may last. After this time the browser
	// opens the next stream by itself, and the guard checks again whether the
	// visitor may see the pages.
	streamLife = 10 * time.Minute
	// Patience is how long a client may take to accept one frame.
	Patience = 10 * time.Second
)

// Stream sends the overview as it changes. The stream ends when the server begins
// to shut down, so that it does not delay the shutdown.
func (l *Overview) Stream(c *fiber.Ctx) error {
	frames, leave := l.join()
	if leave == nil {
		return &domain.Error{Code: domain.CodeUnavailable, Message: "too many people watch already", RetryAfter: time.Minute}
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set("X-Accel-Buffering", "no") // otherwise nginx buffers the stream
	ctx := c.Context()
	ended, connection := ctx.Done(), ctx.Conn()
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer leave()
		life := time.NewTimer(streamLife)
		defer life.Stop()
		frame := []byte("retry: 2000\n\n")
		for {
			// Set a deadline for each frame: the server's write timeout is for a
			// whole answer and too short for a stream.
			if connection.SetWriteDeadline(time.Now().Add(Patience)) != nil {
				return
			}
			if _, err := w.Write(frame); err != nil {
				return
			}
			if w.Flush() != nil {
				return
			}
			select {
			case <-ended:
				return
			case <-life.C:
				return
			case frame = <-frames:
			}
		}
	})
	return nil
}
