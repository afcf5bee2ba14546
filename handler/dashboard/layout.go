package dashboard

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/access"
	"outboxd/handler/dashboard/assets"
	"outboxd/handler/dashboard/show"
	"outboxd/handler/dashboard/sight"
)

// policy is the Content-Security-Policy of the pages. A page may load files from this
// server, and images from data: addresses. It may not have scripts or styles in its
// HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed templates
var templates embed.FS

// Page describes a page to render.
type Page struct {
	Template string  // a file of templates, without its ending
	Title    string  // for the browser's tab and its history
	Section  Section // marked in the navigation
	Data     any
}

// Section is an entry of the navigation.
type Section string

// The sections of the navigation. The sign-in page has no section.
const (
	SectionOverview Section = "overview"
	SectionEvents   Section = "events"
	SectionFailing  Section = "failing"
	SectionDead     Section = "dead"
	SectionActions  Section = "actions"

	SectionTypes     Section = "types"
	SectionQueues    Section = "queues"
	SectionWorkers   Section = "workers"
	SectionKeys      Section = "keys"
	SectionSchedules Section = "schedules"

	SectionSubscriptions Section = "subscriptions"

	// SectionDatabases is the list of several databases. Its navigation has no other section.
	SectionDatabases Section = "databases"
)

// view is the dot (.) in every template.
type view struct {
	Page
	Visitor Visitor
	Version string
	Top     string // the relative address of the monitor's first page: ./ or ../ or ../../ and so on
	Root    string // that of the overview; it differs from Top only if there are several databases
	Here    string // the path and query of the request
	Alarm   string // Verdict.Alarm of the last verdict, for the tab; "" if all is well or no recent verdict is known
	Icon    string // the address of the tab's icon
	Standby string // says from which server the page reads, if there is a standby

	Database string // the one of several databases that the page is about; "" if the process has only one

	files assets.Files
}

// Asset returns the address of an embedded file. The address changes with the
// content, so browsers may cache the file.
func (v view) Asset(name string) (string, error) {
	address, ok := v.files.Address(name)
	if !ok {
		return "", fmt.Errorf("no file %q is served", name)
	}
	return v.Root + address, nil
}

// To returns the relative address of a page. link is the address as seen from the overview.
// Asynqmon's pages exist only once, whatever the number of databases.
func (v view) To(link string) string {
	if strings.HasPrefix(link, tasksPages) {
		return v.Top + link
	}
	return v.Root + link
}

const tasksPages = "monitoring/"

// parsePages returns one template for each page: the layout with the page's own
// templates.
func parsePages() map[string]*template.Template {
	layout := template.Must(template.New("layout").Funcs(show.Formats).ParseFS(templates, "templates/layout.html", "templates/parts.html"))
	files, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	pages := map[string]*template.Template{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		pages[name] = template.Must(template.Must(layout.Clone()).ParseFS(templates, file))
	}
	return pages
}

// Render sends a page.
func (d *Dashboard) Render(c *fiber.Ctx, p Page) error { return d.execute(c, "layout", p) }

// fragment sends one template of a page. htmx inserts it into the open page.
func (d *Dashboard) fragment(c *fiber.Ctx, name string, p Page) error { return d.execute(c, name, p) }

func (d *Dashboard) execute(c *fiber.Ctx, name string, p Page) error {
	v := d.view(p, c.Path())
	v.Visitor, v.Here = d.o.Visitor(c), c.OriginalURL()
	if err := d.markTab(&v); err != nil {
		return err
	}
	if standby := d.o.Sources.Standby; standby != nil && v.Section != "" && name == "layout" {
		if s, ok := standby(c.UserContext()); ok {
			v.Standby = s.String()
		}
	}
	page, err := d.write(name, v)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentSecurityPolicy, policy)
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(page)
}

// view returns the dot for a page at path.
func (d *Dashboard) view(p Page, path string) view {
	top := Root(path)
	return view{Page: p, Version: d.o.Version, Top: top, Root: top + d.base, Database: d.database, files: d.files}
}

func (d *Dashboard) write(name string, v view) ([]byte, error) {
	var page bytes.Buffer
	if err := d.pages[v.Template].ExecuteTemplate(&page, name, v); err != nil {
		return nil, fmt.Errorf("render %s of the page %s: %w", name, v.Template, err)
	}
	return show.Visible(page.Bytes()), nil
}

// markTab chooses the title and the icon of the browser's tab by the last verdict, if the
// verdict is not too old and the visitor may see it. markTab asks no server.
func (d *Dashboard) markTab(v *view) (err error) {
	icon := "icon.svg"
	if s := d.watch.Recent(); s != nil && v.Section != "" {
		judged := sight.Judge(s)
		v.Alarm = judged.Alarm()
		switch judged.Level {
		case sight.Warn:
			icon = "icon-warn.svg"
		case sight.Bad:
			icon = "icon-bad.svg"
		case sight.Good:
		}
	}
	v.Icon, err = v.Asset(icon)
	return err
}

// Explain answers the errors of later handlers: with a page for browsers, and with a
// problem document for other clients.
func (d *Dashboard) Explain(c *fiber.Ctx) error { return d.answer(c, c.Next()) }

// Missing answers a request that matches no route. Add it after all routes.
func (d *Dashboard) Missing(c *fiber.Ctx) error { return d.answer(c, c.Next()) }

func (d *Dashboard) answer(c *fiber.Ctx, err error) error {
	if err == nil || c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) != fiber.MIMETextHTML {
		return err
	}
	fault := d.o.Explain(c, err)
	c.Status(fault.Status)
	fault.Detail = capital(fault.Detail)
	p := Page{Template: "fault", Title: fault.Title, Data: fault}
	if d.o.Visitor(c).May(access.See) {
		p.Section = d.sectionOf(c.Path())
	}
	if c.Get("HX-Request") != "" {
		return d.fragment(c, "content", p)
	}
	return d.Render(c, p)
}

func (d *Dashboard) sectionOf(path string) Section {
	if len(d.members) > 0 {
		return SectionDatabases
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"+d.base), "/")
	switch section := Section(first); section {
	case SectionEvents, SectionFailing, SectionDead, SectionActions, SectionSubscriptions, SectionTypes, SectionQueues, SectionWorkers, SectionKeys, SectionSchedules:
		return section
	default:
		return SectionOverview
	}
}

// Root returns the relative address of the monitor's first page, seen from the page at path.
// Links are relative and do not begin with a slash, because a proxy may put all
// pages below a path of its own.
func Root(path string) string {
	depth := strings.Count(path, "/") - 1
	if depth < 1 {
		return "./"
	}
	return strings.Repeat("../", depth)
}
