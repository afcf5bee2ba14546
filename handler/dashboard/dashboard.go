// Package dashboard has the web pages of the monitor.
//
// A page consists of three parts: a file in the folder templates that defines
// "content", a method of Dashboard that gathers the data and calls Render, and a
// line in Routes.
//
//   - In a template the dot is a view. .Data is the page's data, and .Visitor is
//     the visitor.
//   - Every link to another page begins with .Root, such as {{.Root}}events, so that
//     the pages work below any path of a proxy. A link to an asset is written {{.Asset
//     "dashboard.css"}}. A link to what exists once for several databases, such as the
//     sign-in page, begins with .Top.
//   - A part of a page that htmx replaces is a template of its own, in the same file
//     or in parts.html. The method fragment sends it.
//   - A page has no style attributes and no inline scripts, because the
//     Content-Security-Policy forbids both. Styles are classes of
//     assets/dashboard.css, and scripts are files in assets.
//   - A handler returns its errors. A browser gets a page about the error.
//   - A page changes something only through a form with method POST, behind the
//     guard in routes.
//   - A page gets its data through the interfaces in Sources.
package dashboard

import (
	"context"
	"html/template"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/diagnosis"
	"outboxd/domain/failing"
	"outboxd/domain/figures"
	"outboxd/domain/lives"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
	"outboxd/handler/dashboard/assets"
	"outboxd/handler/dashboard/live"
	"outboxd/handler/dashboard/masking"
	"outboxd/handler/dashboard/sight"
)

// Visitor is the person who opened a page.
type Visitor struct {
	access.Identity
	CanSignIn  bool // there is a way to sign in
	CanSignOut bool // the visitor has a session
}

// MayWrite reports whether the visitor may do at least one kind of change.
func (v Visitor) MayWrite() bool { return v.Role >= access.Operator }

// Lacks says in a sentence or two what the visitor lacks for one action, or for several.
func (v Visitor) Lacks(action string, more ...string) string {
	role := access.LeastRole(action).String()
	takes := "This takes the role " + role
	if len(more) > 0 {
		takes = "To " + action + " takes the role " + role
	}
	for _, other := range more {
		takes += ", to " + other + " the role " + access.LeastRole(other).String()
	}
	takes += "."
	switch {
	case v.Name != "":
		return takes + " " + v.Name + " has the role " + v.Role.String() + "."
	case v.CanSignIn:
		return takes + " Sign in first."
	default:
		return takes + " outboxd runs without a way to sign in."
	}
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
	// Databases are set if the process has several databases, instead of Sources. The
	// first page then lists them, and each has all pages below databases/NAME/.
	Databases []Database
	// Readiness returns the answer of /readyz.
	Readiness func() sight.Readiness
	// Check calls the next handler if the sender of a request may do the action, and
	// refuses the request otherwise. The action is access.See or a kind of action.
	Check func(c *fiber.Ctx, action string) error
	// Visitor returns who made a request. The name is "" and the role access.None if Check was
	// not called or returned an error before it knew who that is.
	Visitor func(c *fiber.Ctx) Visitor
	// Explain logs an error, and returns what the visitor may see of it.
	Explain func(c *fiber.Ctx, err error) Fault
}

// Sources gives the pages their data. Each of its interfaces, pointers and functions may
// be nil. A page that needs a missing one says that this process has no database, or no
// Redis, to look into.
type Sources struct {
	Events overview.Overviews // for the charts
	// Look returns the state of the system. Facts that are cheap to read are not older than
	// maxAge.
	Look func(maxAge time.Duration) diagnosis.Sight
	// Lives searches events and reads what happened to one event. Lives may read from a
	// standby, whose data may be a little old. Before a change, the pages read from
	// Current, which reads from the primary; nil: from Lives.
	Lives, Current lives.Reader
	// Standby says from which server the pages read; ok is false if no standby is
	// configured. Wrote is called after a change, so that the pages show the change. Both
	// may be nil.
	Standby func(context.Context) (s domain.Standby, ok bool)
	Wrote   func(context.Context)
	Tasks   queued.TaskStates
	Dead    domain.DeadLetters
	// Failing finds failing events and changes them.
	Failing *failing.Change

	Subscriptions setup.SubscriptionOverviews
	// Figures reads the figures of types, queues and workers. Pauses pauses and resumes queues.
	Figures     *figures.Source
	Pauses      *figures.Pauses
	Corrections domain.Corrections
	// PayloadLimit is the size of the largest payload that the outbox takes, in bytes; 0: it is
	// not known.
	PayloadLimit int
	Changes      domain.EventChanges
	Keys         HeldKeys
	Schedules    ScheduleList
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
	files   assets.Files
	pages   map[string]*template.Template // by the name of the page's file without its ending
	watch   *sight.Watch
	live    *live.Overview
	charts  live.Memory
	known   live.Memory // names of types and queues
	mask    masking.Mask
	changes *changes

	members  []*member // of several databases, for the list of them
	database string    // the one of several databases that the pages are about, or ""
	base     string    // the address of the pages, relative to the monitor's first page: "" or databases/NAME/
}

// New returns the pages. While no page is open, nothing runs in the background but the
// changes that people began.
func New(o Options) *Dashboard {
	d := &Dashboard{o: o, files: assets.New(), pages: parsePages(), changes: newChanges()}
	d.live = live.New(d.frame)
	d.connect(o.Sources)
	for _, database := range o.Databases {
		d.members = append(d.members, newMember(o, database))
	}
	return d
}

// connect sets where the pages get their data from. Call it only while no page is served.
func (d *Dashboard) connect(sources Sources) {
	if sources.Current == nil {
		sources.Current = sources.Lives
	}
	d.o.Sources = sources
	d.watch, d.mask = sight.NewWatch(sources.Look, d.o.Readiness), masking.New(sources.Mask)
}

// frame renders those parts of the overview that change with the state of the system.
func (d *Dashboard) frame() (f live.Frame, err error) {
	v := d.view(d.overviewPage(), "/"+d.base)
	if f.Announced, err = d.write("announced", v); err != nil {
		return live.Frame{}, err
	}
	if f.Verdict, err = d.write("verdict", v); err != nil {
		return live.Frame{}, err
	}
	f.State, err = d.write("state", v)
	return f, err
}

// Routes adds the pages and their assets to the monitor's app.
func (d *Dashboard) Routes(app fiber.Router) {
	d.files.Serve(app)
	r := routes{app, d}
	if len(d.members) > 0 {
		d.databaseRoutes(r)
		return
	}
	r.get("/", d.overview)
	r.get("/live", d.live.Stream)
	r.get("/history", d.history)
	r.get("/history/table", d.historyTable)
	r.get("/events", d.events)
	r.get("/events/export", d.exportEvents)
	r.get("/events/cancel", d.confirmCancel)
	r.post("/events/cancel", d.startCancel, access.Cancel)
	r.get("/events/:id", d.event)
	r.get("/events/:id/correct", d.correct)
	r.post("/events/:id/correct", d.emitCorrected, access.Correct)
	r.get("/subscriptions", d.subscriptions)
	r.get("/subscriptions/:name", d.subscription)
	r.get("/failing", d.failing)
	r.get("/failing/change", d.confirmFailing)
	r.post("/failing/change", d.changeFailing, domain.ActionRetry, domain.ActionGiveUp)
	r.get("/types", d.types)
	r.get("/queues", d.queues)
	r.pauses("/queues/change", "queue", d.queueForm, d.changeQueue)
	r.get("/workers", d.workers)
	r.get("/keys", d.keys)
	r.get("/schedules", d.schedules)
	r.pauses("/schedules/change", "schedule", d.scheduleForm, d.changeSchedule)
	r.get("/names", d.names)
	r.get("/actions", d.actions)
	r.get("/dead", d.dead)
	r.get("/dead/group", d.deadGroup)
	r.get("/dead/fields", d.deadFields)
	r.get("/dead/export", d.exportDead)
	r.get("/dead/change", d.confirmChange)
	r.post("/dead/change", d.startChange, access.Replay, access.Discard)
	r.get("/changes/:id", d.change)
}

// Close ends the changes that still run in the background. Call it after the server was shut down.
func (d *Dashboard) Close() error {
	for _, m := range d.members {
		m.pages.changes.close()
	}
	d.changes.close()
	return nil
}

// routes adds pages to app. Each page is behind a check of what the visitor may do.
type routes struct {
	app fiber.Router
	d   *Dashboard
}

// get adds a page that changes nothing.
func (r routes) get(path string, page fiber.Handler) {
	r.app.Get(path, r.d.Explain, r.d.may(access.See), page)
}

// post adds the route to which a form is sent. The visitor must be allowed to do the action
// that the form's field action names. If the field names none of the given actions, the visitor
// must be allowed to do the first one.
func (r routes) post(path string, page fiber.Handler, actions ...string) {
	r.app.Post(path, r.d.Explain, func(c *fiber.Ctx) error {
		if chosen := c.FormValue("action"); slices.Contains(actions, chosen) {
			return r.d.o.Check(c, chosen)
		}
		return r.d.o.Check(c, actions[0])
	}, r.d.told(page))
}

// told calls a page that changes something, and afterwards Sources.Wrote, even after an
// error.
func (d *Dashboard) told(page fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		err := page(c)
		d.wrote(c.UserContext())
		return err
	}
}

// wrote calls Sources.Wrote.
func (d *Dashboard) wrote(ctx context.Context) {
	if d.o.Sources.Wrote != nil {
		d.o.Sources.Wrote(ctx)
	}
}

func (d *Dashboard) may(action string) fiber.Handler {
	return func(c *fiber.Ctx) error { return d.o.Check(c, action) }
}

// permit returns the name of the person who sent a form, for the record of the action.
// permit checks the person's role once more, because the guard may have read another
// action: it reads the query of the address before the form. Errors:
// domain.CodeForbidden.
func (d *Dashboard) permit(c *fiber.Ctx, action string) (who string, err error) {
	v := d.o.Visitor(c)
	if !v.May(action) {
		return "", domain.Errorf(domain.CodeForbidden, "this takes the role %s; %s has the role %s", access.LeastRole(action), v.Name, v.Role)
	}
	return v.Name, nil
}
