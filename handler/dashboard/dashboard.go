package dashboard

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/dead"
	"outboxd/handler/dashboard/events"
	"outboxd/handler/dashboard/figures"
	"outboxd/handler/dashboard/live"
	"outboxd/handler/dashboard/setups"
	"outboxd/handler/dashboard/shell"
)

// Options has what the pages need from the HTTP server, and from where they get their data.
type Options struct {
	shell.Options
	Sources Sources
	// A process with several databases sets Databases, and only Mask of Sources. The first
	// page then lists the databases, and each has all pages below databases/NAME/.
	Databases []Database
}

// Dashboard serves the pages. Its methods are safe for concurrent use.
type Dashboard struct {
	*shell.Shell
	live    *live.Overview
	changes *changes.Pages
	events  events.Pages
	dead    dead.Pages
	figures figures.Pages
	setups  setups.Pages

	members []*member // of several databases, for the list of them
}

// New returns the pages. While no page is open, nothing runs in the background except the
// changes that people began.
func New(o Options) *Dashboard {
	d := newAt(o, shell.Place{List: len(o.Databases) > 0})
	for _, database := range o.Databases {
		d.members = append(d.members, newMember(o, database))
	}
	return d
}

// newAt returns the pages of one database, or those of the list.
func newAt(o Options, place shell.Place) *Dashboard {
	around := shell.New(o.Options, place)
	d := &Dashboard{Shell: around, changes: changes.New(around)}
	d.live = live.New(d.frame)
	d.connect(o.Sources)
	return d
}

// connect sets where the pages get their data from. Call it only while no page is served.
func (d *Dashboard) connect(s Sources) {
	if s.Current == nil {
		s.Current = s.Lives
	}
	d.Connect(shell.Sources{Look: s.Look, Standby: s.Standby, Wrote: s.Wrote, Mask: s.Mask})
	d.changes.Letters, d.changes.Pauses = s.Dead, s.Pauses
	d.events = events.Pages{
		Shell: d.Shell, Changes: d.changes,
		Lives: s.Lives, Current: s.Current, Tasks: s.Tasks, Keys: s.Keys, Failing: s.Failing, Cancellations: s.Changes,
		Corrections: s.Corrections, PayloadLimit: s.PayloadLimit, TraceURL: s.TraceURL,
	}
	d.dead = dead.Pages{Shell: d.Shell, Changes: d.changes, Letters: s.Dead, Unconfirmed: s.Unconfirmed}
	d.figures = figures.Pages{Shell: d.Shell, Changes: d.changes, Overviews: s.Events, Figures: s.Figures, Pauses: s.Pauses}
	d.setups = setups.Pages{Shell: d.Shell, Changes: d.changes, Subscriptions: s.Subscriptions, Schedules: s.Schedules, Look: s.Look}
}

// Routes adds the pages and their assets to the monitor's app.
func (d *Dashboard) Routes(app fiber.Router) {
	r := d.Router(app)
	if len(d.members) > 0 {
		d.databaseRoutes(app, r)
		return
	}
	r.Get("/", d.overview)
	r.Get("/live", d.live.Stream)
	d.events.Routes(r)
	d.dead.Routes(r)
	d.changes.Routes(r)
	d.figures.Routes(r)
	d.setups.Routes(r)
}

// Close ends the changes that still run in the background. Call it after the server was shut down.
func (d *Dashboard) Close() error {
	for _, m := range d.members {
		m.pages.changes.Close()
	}
	d.changes.Close()
	return nil
}
