package monitor

import (
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
)

// formLimit is the largest body the monitor reads, in bytes. Asynqmon's batch
// requests list task IDs.
const formLimit = 1 << 20

// Options configure the monitor: its contents and who may see them.
type Options struct {
	Logger *slog.Logger
	// Registry has the metrics of /metrics; the HTTP metrics are added to it.
	Registry *prometheus.Registry
	Version  string
	Roles    []string
	Checks   []Check
	Warnings func() []string // for /readyz and the page; may be nil
	Draining func() bool     // makes /readyz fail; may be nil
	// Pages adds the pages; nil: health and metrics only.
	Pages *TaskPages
	// Sources give the pages their data; they are read while a page is open.
	Sources dashboard.Sources
	// Address is the configured listen address. On a loopback address the pages
	// can be read without a token.
	Address string
	// IsLoopback reports whether an address, with or without a port, means this
	// machine only. It is asked about the listen address and about Host headers.
	IsLoopback func(address string) bool
	// AdminToken allows writing; "": nobody can write.
	AdminToken string
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	Timeouts       handler.Timeouts
	// Connections is how many connections are served at a time; 0: 2048.
	Connections int
}

// New returns the app with /healthz, /readyz and /metrics and, if there are
// Pages, the pages. It starts nothing: the caller listens, shuts down, and
// closes the Pages afterwards.
func New(o Options) *fiber.App {
	s := o.newServer("monitor")
	app, ready := s.App(), newReadiness(o, s.Logger())
	addProbes(app, ready, o, s)
	if o.Pages != nil {
		addPages(app, ready, o, s)
	}
	return app
}

// NewApart returns an app with /healthz, /readyz and /metrics, and another with the
// pages; nil without Pages. It is otherwise like New.
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
	return handler.NewServer(handler.Options{
		Name: name, Logger: o.Logger, Registerer: o.Registry, TrustedProxies: o.TrustedProxies,
		ReadLimit: formLimit, Timeouts: o.Timeouts, Connections: o.Connections,
		Quiet: append(dashboard.AssetPaths(), "/healthz", "/readyz", "/metrics", "/live", "/history", tasksPath+"/*"),
	})
}

// addProbes adds what needs no token.
func addProbes(app *fiber.App, ready *readiness, o Options, s *handler.Server) {
	app.Get("/healthz", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"status": statusOK}) })
	app.Get("/readyz", ready.answer)
	app.Get("/metrics", adaptor.HTTPHandler(exposition(o.Registry, s.Logger())))
}

// addPages adds the pages, and what guards them.
func addPages(app *fiber.App, ready *readiness, o Options, s *handler.Server) {
	g := newGuard(o.AdminToken, o.Address, o.IsLoopback)
	pages := dashboard.New(dashboard.Options{
		Version: o.Version, Sources: o.Sources, Guard: g.check, Visitor: g.visitor, Explain: explain(s),
		Readiness: ready.forPeople,
	})
	pages.Routes(app)
	app.Hooks().OnShutdown(pages.Close)
	in := &signing{g, pages}
	app.Get("/signin", in.signIn)
	app.Post("/signin", in.openSession)
	app.Post("/signout", in.closeSession)
	o.Pages.routes(app, g, o.Sources.Mask)
	app.Get("/*", pages.Missing)
}

// exposition serves the metrics that could be gathered and logs the errors of
// the others. promhttp itself would send the error's text to the client.
func exposition(registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := registry.Gather()
		if err != nil {
			logger.Error("some metrics could not be gathered", "error", err)
		}
		return families, nil
	}), promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// explain returns the part of an error that the pages may show.
func explain(s *handler.Server) func(*fiber.Ctx, error) dashboard.Fault {
	return func(c *fiber.Ctx, err error) dashboard.Fault {
		p := s.Problem(c.UserContext(), err)
		for name := range p.GetHeaders() {
			c.Set(name, p.GetHeaders().Get(name))
		}
		return dashboard.Fault{Status: p.Status, Title: p.Title, Detail: p.Detail, RequestID: p.RequestID}
	}
}
