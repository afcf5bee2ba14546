package handler

import (
	"cmp"
	"log/slog"
	"net/netip"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"outboxd/domain"
)

// DefaultBodyLimit is the largest request body that the API takes, in bytes.
const DefaultBodyLimit = 64 << 10

// drainLimit is how much of a body that is too large is still read, so that the
// client gets to see the answer. Beyond it the connection is cut. Each
// connection can make the server hold as much.
const drainLimit = 256 << 10

// APIOptions are what the API needs, and its limits.
type APIOptions struct {
	Users  domain.UserStore
	Logger *slog.Logger
	// Registerer takes the HTTP metrics; nil for none.
	Registerer prometheus.Registerer
	// Tracer begins a span for each request; nil for none.
	Tracer  trace.Tracer
	Version string // for the API's description
	// BodyLimit is in bytes; 0: DefaultBodyLimit.
	BodyLimit int
	// HashConcurrency is how many passwords are hashed at a time, at 19 MiB
	// each; 0: one for each CPU.
	HashConcurrency int
	// RateLimit is how many requests to /api/ one address may send a minute, and
	// at once; 0: any number. In IPv6 a /64 network counts as one address.
	RateLimit int
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	Timeouts       Timeouts
	// Connections is how many are served at a time; 0: 2048.
	Connections int
}

// API returns the HTTP API with its description at /openapi.json and
// /openapi.yaml and a page to try it at /docs. It starts nothing: the caller
// listens and shuts down.
func API(o APIOptions) *fiber.App {
	limit := cmp.Or(o.BodyLimit, DefaultBodyLimit)
	s := &server{
		logger:  requestLogger(o.Logger, "api"),
		metrics: newHTTPMetrics(o.Registerer),
		tracer:  o.Tracer,
		trusted: o.TrustedProxies, connections: o.Connections,
	}
	app := s.app(max(drainLimit, limit), o.Timeouts)
	if o.RateLimit > 0 {
		app.Use("/api/", limitRate(o.RateLimit))
	}
	app.Use("/api/", checkBody(limit))
	// Whoever waits longer for its turn would have no time left for the rest.
	hasher := NewHasher(o.HashConcurrency, s.request*2/3)
	u := &users{server: s, store: o.Users, hasher: hasher}
	describe(app, u, cmp.Or(o.Version, "dev"), limit)
	serveDocs(app)
	return app
}
