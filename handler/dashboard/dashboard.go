// Package dashboard is what people see of outboxd: the pages on the monitor
// address.
//
// A page is a file in templates that defines "content", a method of Dashboard
// that gathers its data and calls render, and a line in routes. In the template
// the dot is a view: the data is .Data, and who looks is .Visitor. Every link
// begins with .Root, such as {{.Root}}events, so that the pages work below any
// path of a proxy; assets are linked with {{.Asset "dashboard.css"}}. What htmx
// exchanges is a template of its own in the same file, sent with fragment. There
// is neither a style attribute nor a script in a page: the policy forbids both,
// so classes come from assets/dashboard.css and scripts from files of assets. A
// handler returns its errors, and whoever came with a browser is shown a page
// about them. A page that changes something is a form with method POST; routes
// puts the guard before it. The data comes through an interface of Sources.
package dashboard

import (
	"html/template"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

// Visitor is who looks at a page.
type Visitor struct {
	MayWrite  bool // showed the admin token
	CanSignIn bool // there is an admin token to show
}

// Fault is an error as a visitor may see it.
type Fault struct {
	Status    int
	Title     string // the status in words
	Detail    string
	RequestID string
}

// Options are what the pages need of the server around them.
type Options struct {
	Version string
	Sources Sources
	// Readiness is what /readyz says.
	Readiness func() Readiness
	// Guard lets a request pass or refuses it.
	Guard fiber.Handler
	// Visitor says who made a request that has passed.
	Visitor func(c *fiber.Ctx) Visitor
	// Explain logs an error and returns what of it may be shown.
	Explain func(c *fiber.Ctx, err error) Fault
}

// Sources are where the pages get what they show. Any of them may be nil; a
// server that is not asked counts as one that does not answer.
type Sources struct {
	Events domain.Overviews // for the charts
	// Look returns what is known, no older than maxAge where it is cheap to know.
	Look  func(maxAge time.Duration) diagnosis.Sight
	Lives domain.EventLives
	Tasks domain.TaskStates
	Dead  domain.DeadLetters
	// Unconfirmed are the event types that no consumer confirms.
	Unconfirmed []string
	// Mask are the keys whose values are not shown, wherever they are in a
	// payload or a header's name.
	Mask []string
	// TraceURL is where a trace can be looked at, with {trace_id} for its ID;
	// "" for nowhere.
	TraceURL string
}

// Dashboard are the pages. Its methods are safe for concurrent use.
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

// New returns the pages. Nothing runs while no page is open.
func New(o Options) *Dashboard {
	d := &Dashboard{o: o, files: newFiles(), pages: parsePages(), watch: &watch{o: o}, mask: newMask(o.Sources.Mask), changes: newChanges()}
	d.live = &live{render: d.frame}
	return d
}

// frame renders what changes of the overview.
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

// routes adds pages behind what comes before each of them.
type routes struct {
	app    fiber.Router
	before []fiber.Handler
}

func (r routes) get(path string, page fiber.Handler)    { r.app.Get(path, r.behind(page)...) }
func (r routes) post(path string, action fiber.Handler) { r.app.Post(path, r.behind(action)...) }

func (r routes) behind(last fiber.Handler) []fiber.Handler {
	return append(append([]fiber.Handler{}, r.before...), last)
}
