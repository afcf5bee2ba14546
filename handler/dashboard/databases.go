package dashboard

import (
	"errors"
	"sync"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/sight"
)

// Database is one of several databases of a process.
type Database struct {
	Name string // letters, digits, _ and -
	// Open returns from where the pages of the database get their data, or why the database
	// is not open. If that error is a domain.Error, visitors see its message. The pages call
	// Open until it succeeds.
	Open func() (Sources, error)
}

const databasesPath = "databases/"

// Path returns the path below which the pages of the database are.
func (d Database) Path() string { return "/" + databasesPath + d.Name }

// member is one of several databases, with its pages.
type member struct {
	Database
	pages *Dashboard

	mu     sync.Mutex
	opened bool
}

func newMember(o Options, database Database) *member {
	place := shell.Place{Database: database.Name, Base: databasesPath + database.Name + "/"}
	return &member{Database: database, pages: newAt(o, place)}
}

// open returns nil if the pages may be served, or why not.
func (m *member) open() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.opened {
		return nil
	}
	sources, err := m.Open()
	if err != nil {
		return err
	}
	m.pages.connect(sources)
	m.opened = true
	return nil
}

// databaseRoutes adds the list of the databases and the pages of each. While a database is
// not open, its pages say why.
func (d *Dashboard) databaseRoutes(app fiber.Router, r shell.Router) {
	r.Get("/", d.databases)
	for _, m := range d.members {
		app.Get(m.Path(), func(c *fiber.Ctx) error { return c.Redirect(m.Name+"/", fiber.StatusPermanentRedirect) })
		app.Use(m.Path()+"/", d.Explain, d.Guard(access.See), func(c *fiber.Ctx) error {
			if err := m.open(); err != nil {
				return err
			}
			return c.Next()
		})
		m.pages.Routes(app.Group(m.Path()))
	}
}

// databaseLine is a line of the list. Fault says why the database is not served; if it is
// not "", there is no verdict.
type databaseLine struct {
	Name, Fault string
	Verdict     sight.Verdict
}

func (d *Dashboard) databases(c *fiber.Ctx) error {
	lines := make([]databaseLine, len(d.members))
	var asked sync.WaitGroup
	for i, m := range d.members {
		asked.Go(func() { lines[i] = m.line() })
	}
	asked.Wait()
	return d.Render(c, shell.Page{Template: "databases", Title: "Databases", Section: shell.SectionDatabases, Data: lines})
}

// line returns the line of the database in the list. Each line is made in a goroutine of its own, where a panic would
// end the process.
func (m *member) line() (line databaseLine) {
	if err := domain.Recovered("panic", func() error {
		line = databaseLine{Name: m.Name}
		if err := m.open(); err != nil {
			return err
		}
		line.Verdict = sight.Judge(m.pages.Watch.Look())
		return nil
	}); err != nil {
		if known, ok := errors.AsType[*domain.Error](err); ok {
			return databaseLine{Name: m.Name, Fault: known.Message}
		}
		m.pages.Logger.Error("the pages of a database cannot be served", "database", m.Name, "error", err)
		return databaseLine{Name: m.Name, Fault: "the log says why"}
	}
	return line
}
