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

// Options are what the monitor shows, and to whom.
type Options struct {
	Logger *slog.Logger
	// Registry is what /metrics shows; it takes the HTTP metrics too.
	Registry *prometheus.Registry
	Version  string
	Roles    []string
	Checks   []Check
	Warnings func() []string // for /readyz and the page; may be nil
	Draining func() bool     // makes /readyz fail; may be nil
	// Pages adds the pages for people; nil leaves health and metrics.
	Pages *TaskPages
	// Sources are what the pages show; they are read while a page is open.
	Sources dashboard.Sources
	// Address is what the monitor listens on, as configured. On a loopback
	// address the pages can be read without a token.
	Address string
	// IsLoopback tells whether only this machine is meant by a name or address,
	// with or without a port: of what the monitor listens on, and of a Host header.
	IsLoopback func(address string) bool
	// AdminToken is what lets a person write, "" for nobody.
	AdminToken string
	// TrustedProxies are those whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	Timeouts       handler.Timeouts
	// Connections is how many are served at a time; 0: 2048.
	Connections int
}

// New returns the app with /healthz, /readyz and /metrics and, if there are
// Pages, the pages. It starts nothing: the caller listens, shuts down, and then
// closes the Pages.
func New(o Options) *fiber.App {
	s := handler.NewServer(handler.Options{
		Name: "monitor", Logger: o.Logger, Registerer: o.Registry, TrustedProxies: o.TrustedProxies,
		ReadLimit: formLimit, Timeouts: o.Timeouts, Connections: o.Connections,
		Quiet: []string{"/healthz", "/readyz", "/metrics", "/live", "/history", tasksPath + "/*"},
	})
	app := s.App()
	ready := newReadiness(o, s.Logger())
	app.Get("/healthz", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"status": statusOK}) })
	app.Get("/readyz", ready.answer)
	app.Get("/metrics", adaptor.HTTPHandler(exposition(o.Registry, s.Logger())))
	if o.Pages == nil {
		return app
	}
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
	o.Pages.routes(app, g)
	return app
}

// exposition shows what could be gathered and logs what could not: promhttp
// itself would send the error's text.
func exposition(registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := registry.Gather()
		if err != nil {
			logger.Error("some metrics could not be gathered", "error", err)
		}
		return families, nil
	}), promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// explain tells the pages what people may know about an error.
func explain(s *handler.Server) func(*fiber.Ctx, error) dashboard.Fault {
	return func(c *fiber.Ctx, err error) dashboard.Fault {
		p := s.Problem(c.UserContext(), err)
		for name := range p.GetHeaders() {
			c.Set(name, p.GetHeaders().Get(name))
		}
		return dashboard.Fault{Status: p.Status, Title: p.Title, Detail: p.Detail, RequestID: p.RequestID}
	}
}
