// Package dashboard has the web pages of the monitor.
//
// A page consists of three parts: a file in the folder templates that defines
// "content", a method of Dashboard that gathers the data and calls Render, and a
// line in routes.
//
//   - In a template the dot is a view. .Data is the page's data, and .Visitor is
//     the visitor.
//   - Every link begins with .Root, such as {{.Root}}events, so that the pages work
//     below any path of a proxy. A link to an asset is written {{.Asset
//     "dashboard.css"}}.
//   - A part of a page that htmx replaces is a template of its own in the same
//     file. The method fragment sends it.
//   - A page has no style attributes and no inline scripts, because the
//     Content-Security-Policy forbids both. Styles are classes of
//     assets/dashboard.css, and scripts are files in assets.
//   - A handler returns its errors. A browser gets a page about the error.
//   - A page changes something only through a form with method POST, behind the
//     guard in routes.
//   - A page gets its data through the interfaces in Sources.
package dashboard

import (
	"html/template"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/failing"
	"outboxd/domain/figures"
)

// Visitor is the person who opened a page.
type Visitor struct {
	MayWrite  bool // has shown the admin token
	CanSignIn bool // outboxd has an admin token
}

// Fault is what a visitor may see of an error.
type Fault struct {
	Status    int
	Title     string // the status in words
	Detail    string
	RequestID string
}

// Options has what the pages need from the HTTP server.
type Options struct {
	Version string
	Sources Sources
	// Readiness returns the answer of /readyz.
	Readiness func() Readiness
	// Guard lets a request pass or refuses it.
	Guard fiber.Handler
	// Visitor returns the visitor of a request that the guard let pass.
	Visitor func(c *fiber.Ctx) Visitor
	// Explain logs an error and returns what the visitor may see of it.
	Explain func(c *fiber.Ctx, err error) Fault
}

// Sources gives the pages their data. Each of its members may be nil. The pages
// then show the server behind it as one that does not answer.
type Sources struct {
	Events domain.Overviews // for the charts
	// Look returns the state of the system. Cheap facts are not older than
	// maxAge.
	Look  func(maxAge time.Duration) diagnosis.Sight
	Lives domain.EventLives
	Tasks domain.TaskStates
	Dead  domain.DeadLetters
	// Failing finds failing events and changes them.
	Failing *failing.Change

	Subscriptions domain.SubscriptionOverviews
	// Figures are those of types, queues and workers; Pauses pause queues.
	Figures     *figures.Source
	Pauses      *figures.Pauses
	Corrections domain.Corrections
	Keys        HeldKeys
	Schedules   ScheduleList
	// Unconfirmed lists the event types whose consumers do not confirm events.
	Unconfirmed []string
	// Mask is a list of names. The pages hide the values of payload keys and
	// headers whose name contains one of them.
	Mask []string
	// TraceURL is the web address of a trace, in which {trace_id} stands for the
	// trace's ID. If TraceURL is "", the pages do not link to traces.
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

// New returns the pages. Nothing runs in the background while no page is open.
func New(o Options) *Dashboard {
	d := &Dashboard{o: o, files: newFiles(), pages: parsePages(), watch: &watch{o: o}, mask: newMask(o.Sources.Mask), changes: newChanges()}
	d.live = &live{render: d.frame}
	return d
}

// frame renders the parts of the overview that change.
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

// Routes adds the pages and their assets to the monitor's app.
func (d *Dashboard) Routes(app fiber.Router) {
	d.files.serve(app)
	r := routes{app, []fiber.Handler{d.explain, d.o.Guard, admitted}}
	r.get("/", d.overview)
	r.get("/live", d.stream)
	r.get("/history", d.history)
	r.get("/history/table", d.historyTable)
	r.get("/events", d.events)
	r.get("/events/export", d.exportEvents)
	r.get("/events/:id", d.event)
	r.get("/events/:id/correct", d.correct)
	r.post("/events/:id/correct", d.emitCorrected)
	r.get("/subscriptions", d.subscriptions)
	r.get("/subscriptions/:name", d.subscription)
	r.get("/failing", d.failing)
	r.get("/failing/change", d.confirmFailing)
	r.post("/failing/change", d.changeFailing)
	r.get("/types", d.types)
	r.get("/queues", d.queues)
	r.get("/queues/change", d.confirmQueue)
	r.post("/queues/change", d.changeQueue)
	r.get("/workers", d.workers)
	r.get("/keys", d.keys)
	r.get("/schedules", d.schedules)
	r.get("/actions", d.actions)
	r.get("/dead", d.dead)
	r.get("/dead/group", d.deadGroup)
	r.get("/dead/export", d.exportDead)
	r.get("/dead/change", d.confirmChange)
	r.post("/dead/change", d.startChange)
	r.get("/dead/changes/:id", d.change)
}

// Close ends the changes that still run in the background. Call it after the server was shut down.
func (d *Dashboard) Close() error {
	d.changes.close()
	return nil
}

// routes adds pages to the app. Every page is behind the same handlers, such as the
// guard.
type routes struct {
	app    fiber.Router
	before []fiber.Handler
}

func (r routes) get(path string, page fiber.Handler)    { r.app.Get(path, r.behind(page)...) }
func (r routes) post(path string, action fiber.Handler) { r.app.Post(path, r.behind(action)...) }

func (r routes) behind(last fiber.Handler) []fiber.Handler {
	return append(append([]fiber.Handler{}, r.before...), last)
}
