package registration

import (
	"cmp"
	"log/slog"
	"net/netip"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	example "outboxd/domain/registration"
	"outboxd/handler"
)

// DefaultBodyLimit is the largest request body that the API takes, in bytes.
const DefaultBodyLimit = 64 << 10

// drainLimit is how many bytes of a too large body are still read, so that the
// client gets the answer. Beyond it the connection is closed. Each connection
// can make the server hold that much.
const drainLimit = 256 << 10

// Options are what the API needs, and its limits.
type Options struct {
	Users example.UserStore
	// Committed is called after each registration. It may wake a relay of the same process
	// directly, without the database. nil: nothing is called.
	Committed func()
	Logger    *slog.Logger
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
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	Timeouts       handler.Timeouts
	// Connections is how many connections are served at a time; 0: 2048.
	Connections int
}

// New returns the HTTP API with its description at /openapi.json and
// /openapi.yaml and a page to try it at /docs. It starts nothing: the caller
// listens and shuts down.
func New(o Options) *fiber.App {
	limit := cmp.Or(o.BodyLimit, DefaultBodyLimit)
	s := handler.NewServer(handler.Options{
		Name: "api", Logger: o.Logger, Registerer: o.Registerer, Tracer: o.Tracer, TrustedProxies: o.TrustedProxies,
		ReadLimit: max(drainLimit, limit), Timeouts: o.Timeouts, Connections: o.Connections,
	})
	app := s.App()
	if o.RateLimit > 0 {
		app.Use("/api/", handler.LimitRate(o.RateLimit))
	}
	app.Use("/api/", checkBody(limit))
	// A request that waits longer would have no time left for the rest.
	hasher := NewHasher(o.HashConcurrency, s.Patience*2/3)
	u := &users{server: s, store: o.Users, committed: o.Committed, hasher: hasher}
	describe(app, u, cmp.Or(o.Version, "dev"), limit)
	serveDocs(app)
	return app
}
