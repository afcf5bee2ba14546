package handler

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	recovery "github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"
)

// Timeouts has the time limits for one connection.
type Timeouts struct {
	Read    time.Duration // for reading a whole request, headers and body; 0: 10 s
	Write   time.Duration // for sending a whole response; 0: 30 s
	Idle    time.Duration // for a connection kept open between requests; 0: 60 s
	Request time.Duration // for the work on one request; 0: 15 s
}

// maxHeaders is the largest total size of the headers of a request, in bytes.
const maxHeaders = 16 << 10

// maxConnections is how many connections one listener serves at a time. If more
// connections come, the listener answers them with 503 and closes them. There is a
// limit because each connection can make the server keep a body of the largest size
// in memory before the server knows anything about the sender.
const maxConnections = 2048

// Options has the dependencies and limits of a Server.
type Options struct {
	Name   string // the name of the component in the log
	Logger *slog.Logger
	// Registerer is where the server registers its HTTP metrics; nil: nowhere.
	Registerer prometheus.Registerer
	// Tracer makes a span for each request; nil: no spans.
	Tracer trace.Tracer
	// TrustedProxies are the networks of proxies whose X-Forwarded-For header the
	// server trusts.
	TrustedProxies []netip.Prefix
	// ReadLimit is the largest body that the server reads, in bytes, unless LargeBody allows more.
	ReadLimit int
	// LargeBody returns the largest body of requests with this method and path, in bytes. If that is
	// more than ReadLimit, only a few requests may have such a body: 16 at once, and after them one
	// more each second. If LargeBody is nil, no request may have more than ReadLimit.
	LargeBody func(method, path string) int
	Timeouts  Timeouts
	// Connections is how many connections the listener serves at a time; 0: 2048.
	Connections int
	// Quiet lists routes that clients poll. The server logs requests that only read
	// these routes at debug level.
	Quiet []string
}

// Server is what the API and the monitor share: it gives requests an ID, logs and
// counts them, sets security headers, and answers errors.
type Server struct {
	o       Options
	logger  *slog.Logger
	metrics *httpMetrics
	// Patience is how long the handlers of one request may take.
	Patience time.Duration
}

// NewServer returns a Server. NewServer starts nothing.
func NewServer(o Options) *Server {
	return &Server{
		o: o, logger: requestLogger(o.Logger, o.Name), metrics: newHTTPMetrics(o.Registerer),
		Patience: cmp.Or(o.Timeouts.Request, 15*time.Second),
	}
}

// Logger returns the component's logger, which adds request IDs.
func (s *Server) Logger() *slog.Logger { return s.logger }

// exchange is the state of one request.
type exchange struct {
	began   time.Time
	address netip.Addr
	cancel  context.CancelFunc
	span    trace.Span // nil: none
	stack   []byte     // the stack of a panic; nil: there was none
}

type exchangeKey struct{}

// App returns a fiber app with the settings and middleware of the Server.
func (s *Server) App() *fiber.App {
	t := s.o.Timeouts
	proxies := make([]string, len(s.o.TrustedProxies))
	for i, p := range s.o.TrustedProxies {
		proxies[i] = p.String()
	}
	app := fiber.New(fiber.Config{
		AppName:               "outboxd",
		BodyLimit:             s.o.ReadLimit,
		ReadBufferSize:        maxHeaders,
		Concurrency:           cmp.Or(s.o.Connections, maxConnections),
		ReadTimeout:           cmp.Or(t.Read, 10*time.Second),
		WriteTimeout:          cmp.Or(t.Write, 30*time.Second),
		IdleTimeout:           cmp.Or(t.Idle, 60*time.Second),
		StrictRouting:         true,
		CaseSensitive:         true,
		DisableStartupMessage: true,
		// Strings from headers are used after the handler has returned, in log
		// lines and other goroutines, so fiber must copy them.
		Immutable:    true,
		ErrorHandler: s.outside,
		// Without this setting, fiber trusts X-Forwarded-Proto and X-Forwarded-Host
		// from every client.
		EnableTrustedProxyCheck: true,
		TrustedProxies:          proxies,
		RequestMethods:          append(slices.Clone(fiber.DefaultMethods), unknownMethod),
	})
	if s.o.LargeBody != nil {
		app.Server().HeaderReceived = s.o.largeBodies()
	}
	// Fiber answers a request with an unknown method before any middleware runs. So
	// replace the method by UNKNOWN, which this app knows; then the request is
	// logged, counted and refused like any other.
	inner := app.Server().Handler
	app.Server().Handler = func(ctx *fasthttp.RequestCtx) {
		if !slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(unknownMethod)
		}
		// Close the connection after a request with Transfer-Encoding. If the
		// request also has Content-Length, this server and a proxy may disagree
		// where the request ends. A part of the request would then count as the
		// request of the proxy's next client (request smuggling).
		if bytes.Contains(bytes.ToLower(ctx.Request.Header.RawHeaders()), []byte("transfer-encoding:")) {
			ctx.SetConnectionClose()
		}
		inner(ctx)
	}
	app.Use(s.inside, recovery.New(recovery.Config{EnableStackTrace: true, StackTraceHandler: keepStack}))
	return app
}

// inside is the middleware around every request that reaches the routes.
func (s *Server) inside(c *fiber.Ctx) error {
	x := s.begin(c)
	defer x.cancel()
	err := c.Next()
	if err != nil {
		s.fail(c, err)
	}
	s.end(c, x, err)
	return nil
}

// outside answers requests that do not reach the routes, because fasthttp could not read
// these requests.
func (s *Server) outside(c *fiber.Ctx, err error) error {
	x := s.begin(c)
	defer x.cancel()
	s.fail(c, err)
	s.end(c, x, err)
	return nil
}

func (s *Server) begin(c *fiber.Ctx) *exchange {
	id := acceptRequestID(c.Get(HeaderRequestID))
	ctx, cancel := context.WithTimeout(context.WithValue(c.UserContext(), requestIDKey{}, id), s.Patience)
	c.Set(HeaderRequestID, id)
	secure(c)
	x := &exchange{began: time.Now(), address: clientAddress(c, s.o.TrustedProxies), cancel: cancel}
	if s.o.Tracer != nil {
		ctx, x.span = s.startSpan(ctx, c, x)
	}
	c.SetUserContext(ctx)
	c.Locals(exchangeKey{}, x)
	return x
}

func exchangeOf(c *fiber.Ctx) *exchange {
	x, _ := c.Locals(exchangeKey{}).(*exchange)
	return x
}

// keepStack stores the stack of a panic. keepStack runs during the panic, while the stack
// is still available.
func keepStack(c *fiber.Ctx, _ any) { exchangeOf(c).stack = debug.Stack() }

// fail answers a request with the Problem for err.
func (s *Server) fail(c *fiber.Ctx, err error) {
	if err := s.problem(c.UserContext(), err, exchangeOf(c).stack).write(c); err != nil {
		s.logger.ErrorContext(c.UserContext(), "cannot answer", "error", err)
		c.Status(http.StatusInternalServerError)
	}
}

// ClientOf returns the address of a request's client.
func ClientOf(c *fiber.Ctx) netip.Addr { return exchangeOf(c).address }

// Problem returns what the client may see of err. Problem also logs the cause; no
// other code logs it.
func (s *Server) Problem(ctx context.Context, err error) *Problem { return s.problem(ctx, err, nil) }

// problem does the same as Problem. If a stack is given, it also logs the stack.
func (s *Server) problem(ctx context.Context, err error, stack []byte) *Problem {
	p := ProblemOf(err)
	p.RequestID = RequestID(ctx)
	attrs := []slog.Attr{slog.Any("error", err)}
	if p.cause != nil {
		attrs[0] = slog.Any("error", p.cause)
	}
	if stack != nil {
		attrs = append(attrs, slog.String("stack", string(stack)))
	}
	switch {
	case p.Status >= http.StatusInternalServerError && p.Status != http.StatusServiceUnavailable:
		s.logger.LogAttrs(ctx, slog.LevelError, "request failed", attrs...)
	case p.Status == http.StatusServiceUnavailable:
		s.logger.LogAttrs(ctx, slog.LevelWarn, "request refused for now", attrs...)
	default:
		s.logger.LogAttrs(ctx, slog.LevelDebug, "request refused", attrs...)
	}
	return p
}

// end logs and counts a request.
func (s *Server) end(c *fiber.Ctx, x *exchange, err error) {
	took := time.Since(x.began)
	route, code := routeOf(c, err), c.Response().StatusCode()
	s.metrics.observe(c.Method(), route, code, took, sampledTrace(c, x.span))
	if x.span != nil {
		endSpan(x.span, c.Method(), route, code)
	}
	level := slog.LevelInfo
	// A connection over which no request comes ends with 408. Such connections are
	// frequent, so log them at debug level.
	if slices.Contains(s.o.Quiet, route) && IsSafe(c.Method()) || code == http.StatusRequestTimeout {
		level = slog.LevelDebug
	}
	size := 0
	if !c.Response().IsBodyStream() {
		size = len(c.Response().Body())
	}
	s.logger.LogAttrs(c.UserContext(), level, "request",
		slog.String("method", c.Method()), slog.String("route", route), slog.Int("status", code),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.Int("bytes", size),
		slog.String("remote", x.address.String()))
}

// routeOf returns the pattern of the route that matched the request. A *fiber.Error
// means that no route matched: only Fiber's router and fasthttp return such errors,
// and no handler of outboxd does.
func routeOf(c *fiber.Ctx, err error) string {
	if _, routing := errors.AsType[*fiber.Error](err); routing {
		return unmatched
	}
	return c.Route().Path
}

// secure sets the security headers of an answer. The pages replace the
// Content-Security-Policy by one that allows more.
func secure(c *fiber.Ctx) {
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	// Do not use no-referrer: with it, browsers send "Origin: null" with the
	// sign-in form.
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set(fiber.HeaderCacheControl, "no-store")
}

// requestLogger returns a logger that adds the component's name and request IDs to
// its records.
func requestLogger(logger *slog.Logger, component string) *slog.Logger {
	return slog.New(WithRequestID(logger.Handler())).With("component", component)
}

// IsSafe reports whether an HTTP method only reads.
func IsSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
