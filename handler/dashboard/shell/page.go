package shell

import "strings"

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

// sectionOf returns the section of the page at a path.
func (p Place) sectionOf(path string) Section {
	if p.List {
		return SectionDatabases
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"+p.Base), "/")
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
