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

// The server reads a body of up to drainLimit bytes even if it is too large, so that the client gets the answer. If
// the body is larger than drainLimit, the server closes the connection. Each connection can make the server keep
// drainLimit bytes in memory.
const drainLimit = 256 << 10

// Options has the dependencies and the limits of the API.
type Options struct {
	Users example.UserStore
	// Committed is called after each registration. Committed may wake a relay in the same process directly, without
	// PostgreSQL's NOTIFY. nil: nothing is called.
	Committed func()
	Logger    *slog.Logger
	// Registerer is where the API registers its HTTP metrics; nil: nowhere.
	Registerer prometheus.Registerer
	// Tracer makes a span for each request; nil: no spans.
	Tracer  trace.Tracer
	Version string // for the API's description
	// BodyLimit is in bytes; 0: DefaultBodyLimit.
	BodyLimit int
	// HashConcurrency is how many passwords the API hashes at a time. Each hash needs 19
	// MiB of memory. 0: one for each CPU that Go may use.
	HashConcurrency int
	// RateLimit is how many requests a minute one address may send to /api/ on
	// average, and also in one burst; 0: any number. In IPv6 a /64 network counts
	// as one address.
	RateLimit int
	// TrustedProxies are the networks of proxies whose X-Forwarded-For header the
	// API trusts.
	TrustedProxies []netip.Prefix
	Timeouts       handler.Timeouts
	// Connections is how many connections the listener serves at a time; 0: 2048.
	Connections int
}

// New returns the HTTP API. The API's description is at /openapi.json and
// /openapi.yaml, and a page for trying it is at /docs. New does not listen: the
// caller listens and shuts the app down.
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
	// A request may wait two thirds of its time for a hash. After a longer wait the
	// rest of the request would not have enough time.
	hasher := NewHasher(o.HashConcurrency, s.Patience*2/3)
	u := &users{server: s, store: o.Users, committed: o.Committed, hasher: hasher}
	describe(app, u, cmp.Or(o.Version, "dev"), limit)
	serveDocs(app)
	return app
}
