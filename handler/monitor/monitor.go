package monitor

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"outboxd/handler"
	"outboxd/handler/dashboard"
	"outboxd/handler/dashboard/assets"
	"outboxd/handler/dashboard/events"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/signin"
)

// formLimit is the largest request body that the monitor reads, in bytes, except for forms with a
// corrected payload. The limit is this high because Asynqmon's batch requests list task IDs.
const formLimit = 1 << 20

const (
	usualPayload = 1 << 20  // the payload limit of a new outbox
	otherFields  = 64 << 10 // of a form with a corrected payload
)

// largeBody returns the largest body of a form with a corrected payload; 0 for any other request. A
// form may encode one byte of the payload as three bytes (%0A), and has further fields. In most forms
// a payload that is a little too large still fits. The page can then say that the payload is too large.
func (o Options) largeBody(method, path string) int {
	if method != http.MethodPost || !events.IsCorrection(path) {
		return 0
	}
	limit := 0
	if o.PayloadLimit != nil {
		limit = o.PayloadLimit()
	}
	return 3*cmp.Or(limit, usualPayload) + otherFields
}

// Options configures the monitor: what it serves and who may see it.
type Options struct {
	Logger *slog.Logger
	// Registry has the metrics for /metrics. New adds the HTTP metrics to it.
	Registry *prometheus.Registry
	Version  string
	Roles    []string
	Checks   []Check
	Warnings func() []string // for the answer of /readyz; may be nil
	Draining func() bool     // makes /readyz fail; may be nil
	// Pages are Asynqmon's pages. If Pages is set, the monitor also serves the
	// dashboard. If Pages is nil, the monitor serves only health and metrics.
	Pages *TaskPages
	// Sources gives the pages their data. While no page is open and no change runs, the pages
	// read nothing. A process with several databases sets Databases, and only Mask of Sources.
	Sources   dashboard.Sources
	Databases []dashboard.Database
	// PayloadLimit returns the size of the largest payload that an outbox of the pages takes, in
	// bytes; 0: the size is not known. nil: the size is never known.
	PayloadLimit func() int
	// Ways are how people sign in to the pages.
	signin.Ways
	// TrustedProxies are the networks of the proxies whose X-Forwarded-For header and
	// identity header the monitor trusts.
	TrustedProxies []netip.Prefix
	Timeouts       handler.Timeouts
	// Connections is how many connections the listener serves at a time; 0: 2048.
	Connections int
}

// New returns the app with /healthz, /readyz and /metrics and, if Pages is set, the
// pages. New does not listen: the caller listens, shuts the app down, and closes
// the Pages afterwards.
func New(o Options) *fiber.App {
	s := o.newServer("monitor")
	app, ready := s.App(), newReadiness(o, s.Logger())
	addProbes(app, ready, o, s)
	if o.Pages != nil {
		addPages(app, ready, o, s)
	}
	return app
}

// NewApart returns two apps for two listeners: probes has /healthz, /readyz and /metrics,
// and pages has the pages. The result pages is nil if o.Pages is nil. Apart from that,
// NewApart does what New does.
func NewApart(o Options) (probes, pages *fiber.App) {
	s := o.newServer("probes")
	ready := newReadiness(o, s.Logger())
	probes = s.App()
	addProbes(probes, ready, o, s)
	if o.Pages == nil {
		return probes, nil
	}
	s = o.newServer("monitor")
	pages = s.App()
	addPages(pages, ready, o, s)
	return probes, pages
}

func (o Options) newServer(name string) *handler.Server {
	polled := append(assets.Paths(), "/live", "/history")
	quiet := append([]string{"/healthz", "/readyz", "/metrics", tasksPath + "/*"}, polled...)
	for _, database := range o.Databases {
		for _, route := range polled {
			quiet = append(quiet, database.Path()+route)
		}
	}
	return handler.NewServer(handler.Options{
		Name: name, Logger: o.Logger, Registerer: o.Registry, TrustedProxies: o.TrustedProxies,
		ReadLimit: formLimit, LargeBody: o.largeBody, Timeouts: o.Timeouts, Connections: o.Connections,
		Quiet: quiet,
	})
}

// addProbes adds /healthz, /readyz and /metrics, which need no token.
func addProbes(app *fiber.App, ready *readiness, o Options, s *handler.Server) {
	app.Get("/healthz", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"status": statusOK}) })
	app.Get("/readyz", ready.answer)
	app.Get("/metrics", adaptor.HTTPHandler(exposition(o.Registry, s.Logger())))
}

// addPages adds the pages and the guard before them.
func addPages(app *fiber.App, ready *readiness, o Options, s *handler.Server) {
	in := signin.New(o.Ways, s.Logger())
	pages := dashboard.New(dashboard.Options{
		Options: shell.Options{Version: o.Version, Logger: s.Logger(), Readiness: ready.forPeople, Check: in.Check, Visitor: in.Visitor, Explain: explain(s)},
		Sources: o.Sources, Databases: o.Databases,
	})
	pages.Routes(app)
	app.Hooks().OnShutdown(pages.Close)
	in.Routes(app, pages.Shell)
	o.Pages.routes(app, in, s.Logger(), o.Sources.Mask)
	app.Get("/*", pages.Missing)
}

// exposition serves /metrics. If some metrics cannot be gathered, it serves the others and logs the
// error. promhttp itself would send the error's text to the client.
func exposition(registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := registry.Gather()
		if err != nil {
			logger.Error("some metrics could not be gathered", "error", err)
		}
		return families, nil
	}), promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// explain returns a function for the pages. The function logs an error and returns what
// the pages may show of it.
func explain(s *handler.Server) func(*fiber.Ctx, error) shell.Fault {
	return func(c *fiber.Ctx, err error) shell.Fault {
		p := s.Problem(c.UserContext(), err)
		for name := range p.GetHeaders() {
			c.Set(name, p.GetHeaders().Get(name))
		}
		return shell.Fault{Status: p.Status, Title: p.Title, Detail: p.Detail, RequestID: p.RequestID}
	}
}
