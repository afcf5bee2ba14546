// Package dashboard has the pages on the monitor address.
//
// A page is a file in templates that defines "content", a method of Dashboard
// that gathers its data and calls render, and a line in routes.
//
//   - In a template the dot is a view: the data is .Data, and the visitor is
//     .Visitor.
//   - Every link begins with .Root, such as {{.Root}}events, so that the pages
//     work below any path of a proxy. Assets are linked with {{.Asset
//     "dashboard.css"}}.
//   - A part that htmx exchanges is a template of its own in the same file, sent
//     with fragment.
//   - A page has neither a style attribute nor a script, because the policy
//     forbids both: classes come from assets/dashboard.css, and scripts from
//     files in assets.
//   - A handler returns its errors. A browser gets a page about the error.
//   - A page that changes something is a form with method POST, behind the guard
//     in routes.
//   - The data comes through an interface of Sources.
package dashboard

import (
	"html/template"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/failing"
)

// Visitor is the person who looks at a page.
type Visitor struct {
	MayWrite  bool // has shown the admin token
	CanSignIn bool // outboxd has an admin token
}

// Fault is the part of an error that a visitor may see.
type Fault struct {
	Status    int
	Title     string // the status in words
	Detail    string
	RequestID string
}

// Options are what the pages need from the server.
type Options struct {
	Version string
	Sources Sources
	// Readiness returns the answer of /readyz.
	Readiness func() Readiness
	// Guard lets a request pass or refuses it.
	Guard fiber.Handler
	// Visitor returns the visitor of a request that the guard let pass.
	Visitor func(c *fiber.Ctx) Visitor
	// Explain logs an error and returns the part that may be shown.
	Explain func(c *fiber.Ctx, err error) Fault
}

// Sources are where the pages get their data. Each may be nil; a server without
// a source counts as one that does not answer.
type Sources struct {
	Events domain.Overviews // for the charts
	// Look returns the state of the system. Cheap facts are not older than
	// maxAge.
	Look  func(maxAge time.Duration) diagnosis.Sight
	Lives domain.EventLives
	Tasks domain.TaskStates
	Dead  domain.DeadLetters
	// Failing changes failing events, and knows them.
	Failing *failing.Change

	Subscriptions domain.SubscriptionOverviews
	// Unconfirmed are the event types that no consumer confirms.
	Unconfirmed []string
	// Mask are names: values of payload keys and headers that contain one of
	// them are not shown.
	Mask []string
	// TraceURL is the address of a trace, with {trace_id} for its ID; "":
	// traces are not linked.
	TraceURL string
}

// Dashboard serves the pages. Its methods are safe for concurrent use.
type Dashboard struct {
	o       Options
	files   files
	pages   map[string]*template.Template // by the name of their file, without its ending
	watch   *watch
	live    *live
	charts  memory
	mask    mask
	changes *changes
}

// New returns the pages. It runs nothing while no page is open.
func New(o Options) *Dashboard {
	d := &Dashboard{o: o, files: newFiles(), pages: parsePages(), watch: &watch{o: o}, mask: newMask(o.Sources.Mask), changes: newChanges()}
	d.live = &live{render: d.frame}
	return d
}

// frame renders the changing parts of the overview.
func (d *Dashboard) frame() (f frame, err error) {
	v := view{Page: d.overviewPage(), Version: d.o.Version, Root: Root("/"), files: d.files}
	if f.announced, err = d.write("announced", v); err != nil {
		return frame{}, err
	}
	if f.verdict, err = d.write("verdict", v); err != nil {
		return frame{}, err
	}
	f.state, err = d.write("state", v)
	return f, err
}

// Routes adds the pages and their assets to the monitor.
func (d *Dashboard) Routes(app fiber.Router) {
	d.files.serve(app)
	r := routes{app, []fiber.Handler{d.explain, d.o.Guard, admitted}}
	r.get("/", d.overview)
	r.get("/live", d.stream)
	r.get("/history", d.history)
	r.get("/history/table", d.historyTable)
	r.get("/events", d.events)
	r.get("/events/:id", d.event)
	r.get("/subscriptions", d.subscriptions)
	r.get("/subscriptions/:name", d.subscription)
	r.get("/failing", d.failing)
	r.get("/failing/change", d.confirmFailing)
	r.post("/failing/change", d.changeFailing)
	r.get("/actions", d.actions)
	r.get("/dead", d.dead)
	r.get("/dead/group", d.deadGroup)
	r.get("/dead/change", d.confirmChange)
	r.post("/dead/change", d.startChange)
	r.get("/dead/changes/:id", d.change)
}

// Close ends the changes that outlive their request. Call it after the server was shut down.
func (d *Dashboard) Close() error {
	d.changes.close()
	return nil
}

// routes adds pages, each behind the same handlers.
type routes struct {
	app    fiber.Router
	before []fiber.Handler
}

func (r routes) get(path string, page fiber.Handler)    { r.app.Get(path, r.behind(page)...) }
func (r routes) post(path string, action fiber.Handler) { r.app.Post(path, r.behind(action)...) }

func (r routes) behind(last fiber.Handler) []fiber.Handler {
	return append(append([]fiber.Handler{}, r.before...), last)
}
