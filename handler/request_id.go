package handler

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"

	"outboxd/domain"
)

// HeaderRequestID is the header with the request's ID. A client may send it. Every
// answer has it, except the 503 to a connection above Options.Connections.
const HeaderRequestID = "X-Request-ID"

const maxRequestID = 128

type requestIDKey struct{}

// RequestID returns the ID of the HTTP request to which ctx belongs; "" if ctx belongs to
// none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// acceptRequestID returns the ID that the client sent if it is safe in logs and
// headers, and otherwise a new ID.
func acceptRequestID(offered string) string {
	if validRequestID(offered) {
		return offered
	}
	return newRequestID()
}

// validRequestID reports whether an ID consists of 1 to 128 letters, digits, dots,
// dashes and underscores.
func validRequestID(s string) bool {
	return s != "" && len(s) <= maxRequestID && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}) < 0
}

// newRequestID returns a random UUID (version 4).
func newRequestID() string {
	var id domain.ID
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// requestIDHandler adds request_id to every record logged with the context of
// a request.
type requestIDHandler struct{ slog.Handler }

// WithRequestID returns a slog.Handler that adds request_id to every record whose context
// belongs to an HTTP request, and passes all records to the given Handler. If that
// Handler comes from WithRequestID, WithRequestID returns it unchanged.
func WithRequestID(next slog.Handler) slog.Handler {
	if h, done := next.(requestIDHandler); done {
		return h
	}
	return requestIDHandler{next}
}

// Handle implements slog.Handler.
func (h requestIDHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h requestIDHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestIDHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler. Inside a group request_id is a member of the
// group.
func (h requestIDHandler) WithGroup(name string) slog.Handler {
	return requestIDHandler{h.Handler.WithGroup(name)}
}
