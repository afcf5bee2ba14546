package shell

import (
	"context"
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/handler/dashboard/assets"
	"outboxd/handler/dashboard/masking"
	"outboxd/handler/dashboard/sight"
)

// Options has what the pages need from the HTTP server.
type Options struct {
	Version string
	Logger  *slog.Logger // for errors whose cause no answer shows; nil: none
	// Readiness returns the answer of /readyz.
	Readiness func() sight.Readiness
	// Check calls the next handler if the sender of a request may do the action, and
	// refuses the request otherwise. The action is access.See or a kind of action.
	Check func(c *fiber.Ctx, action string) error
	// Visitor returns who made a request. The name is "" and the role access.None if Check was
	// not called, or if Check returned an error before it knew the person.
	Visitor func(c *fiber.Ctx) Visitor
	// Explain logs an error, and returns what the visitor may see of it.
	Explain func(c *fiber.Ctx, err error) Fault
}

// Place says where the pages are if a process has several databases. The zero value is for the pages of the only
// database.
type Place struct {
	Database string // the one of several databases that the pages are about, or ""
	Base     string // the address of the overview, relative to the monitor's first page: "" or databases/NAME/
	List     bool   // the only page is the list of the databases
}

// Sources has what all pages need of a database. Each field may be nil.
type Sources struct {
	// Look returns the state of the system. Facts that are cheap to read are not older than
	// maxAge.
	Look func(maxAge time.Duration) diagnosis.Sight
	// Standby says from which server the pages read; ok is false if no standby is
	// configured. Wrote is called after a change, so that the pages show the change.
	Standby func(context.Context) (s domain.Standby, ok bool)
	Wrote   func(context.Context)
	// Mask is a list of names. The pages hide the values of payload keys and
	// headers whose name contains one of them.
	Mask []string
}

// Shell renders pages, and decides who gets them. Its methods are safe for concurrent use.
type Shell struct {
	Options
	Place Place
	Watch *sight.Watch
	Mask  masking.Mask

	// Lasting ends when the pages are closed. It is for what outlasts its request, such as a long download.
	Lasting context.Context //nolint:containedctx // see above
	end     context.CancelFunc

	sources   Sources
	files     assets.Files
	templates Templates
}

// New returns a Shell without sources; see Connect.
func New(o Options, place Place) *Shell {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Shell{Options: o, Place: place, files: assets.New(), templates: ParseTemplates()}
	s.Lasting, s.end = context.WithCancel(context.Background())
	s.Connect(Sources{})
	return s
}

// Connect sets where the Shell gets its data from. Call it only while no page is served.
func (s *Shell) Connect(sources Sources) {
	s.sources = sources
	s.Watch, s.Mask = sight.NewWatch(sources.Look, s.Readiness), masking.New(sources.Mask)
}

// End ends the context Lasting, and so what goes on after its request, such as a download.
func (s *Shell) End() { s.end() }

// Wrote calls Sources.Wrote, so that the pages do not read from a standby that lacks the latest change.
func (s *Shell) Wrote(ctx context.Context) {
	if s.sources.Wrote != nil {
		s.sources.Wrote(ctx)
	}
}
