package registration

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
)

// humaAdapter lets huma serve its operations through Fiber v2. huma's own adapter
// would add Fiber v3 to the binary.
type humaAdapter struct{ app *fiber.App }

// Handle implements huma.Adapter. Handle converts path parameters from huma's form
// {id} to Fiber's form :id. Handle answers HEAD like GET.
func (a humaAdapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	path := strings.NewReplacer("{", ":", "}", "").Replace(op.Path)
	serve := func(c *fiber.Ctx) error {
		handler(&humaContext{op: op, fiber: c, ctx: c.UserContext()})
		return nil
	}
	if op.Method == http.MethodGet {
		a.app.Add(http.MethodHead, path, serve)
	}
	a.app.Add(op.Method, path, serve)
}

// ServeHTTP implements huma.Adapter.
func (a humaAdapter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "requests come through Fiber", http.StatusNotImplemented)
}

// humaContext is one request. humaContext is valid until its handler returns.
type humaContext struct {
	op     *huma.Operation
	fiber  *fiber.Ctx
	ctx    context.Context //nolint:containedctx // huma.Context has a method that returns it
	status int
}

var _ huma.Context = (*humaContext)(nil)

// fiberOf returns the Fiber context inside a huma.Context.
func fiberOf(ctx huma.Context) *fiber.Ctx {
	for {
		wrapped, is := ctx.(interface{ Unwrap() huma.Context })
		if !is {
			return ctx.(*humaContext).fiber //nolint:forcetypeassert // humaAdapter makes every context
		}
		ctx = wrapped.Unwrap()
	}
}

func (c *humaContext) Operation() *huma.Operation { return c.op }
func (c *humaContext) Context() context.Context   { return c.ctx }
func (c *humaContext) TLS() *tls.ConnectionState  { return c.fiber.Context().TLSConnectionState() }
func (c *humaContext) Method() string             { return c.fiber.Method() }
func (c *humaContext) Host() string               { return c.fiber.Hostname() }
func (c *humaContext) RemoteAddr() string         { return c.fiber.Context().RemoteAddr().String() }

func (c *humaContext) Version() huma.ProtoVersion {
	return huma.ProtoVersion{Proto: string(c.fiber.Request().Header.Protocol())}
}

func (c *humaContext) URL() url.URL {
	if u, err := url.Parse(string(c.fiber.Request().RequestURI())); err == nil {
		return *u
	}
	return url.URL{}
}

func (c *humaContext) Param(name string) string  { return c.fiber.Params(name) }
func (c *humaContext) Query(name string) string  { return c.fiber.Query(name) }
func (c *humaContext) Header(name string) string { return c.fiber.Get(name) }

func (c *humaContext) EachHeader(each func(name, value string)) {
	for name, value := range c.fiber.Request().Header.All() {
		each(string(name), string(value))
	}
}

func (c *humaContext) BodyReader() io.Reader { return bytes.NewReader(c.fiber.Body()) }

func (c *humaContext) GetMultipartForm() (*multipart.Form, error) { return c.fiber.MultipartForm() }

func (c *humaContext) SetReadDeadline(deadline time.Time) error {
	return c.fiber.Context().Conn().SetReadDeadline(deadline)
}

func (c *humaContext) SetStatus(code int) {
	c.status = code
	c.fiber.Status(code)
}

func (c *humaContext) Status() int                     { return c.status }
func (c *humaContext) SetHeader(name, value string)    { c.fiber.Set(name, value) }
func (c *humaContext) AppendHeader(name, value string) { c.fiber.Append(name, value) }
func (c *humaContext) BodyWriter() io.Writer           { return c.fiber.Context() }
