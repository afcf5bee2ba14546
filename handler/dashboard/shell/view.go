package shell

import (
	"fmt"
	"strings"

	"outboxd/handler/dashboard/assets"
	"outboxd/handler/dashboard/sight"
)

// View is the dot (.) in every template.
type View struct {
	Page
	Visitor Visitor
	Version string
	Top     string // the relative address of the monitor's first page: ./ or ../ or ../../ and so on
	Root    string // the relative address of the overview; differs from Top only if there are several databases
	Here    string // the path and query of the request
	Alarm   string // Verdict.Alarm of the last verdict, for the tab; "" if all is well or no recent verdict is known
	Icon    string // the address of the tab's icon
	Standby string // says from which server the page reads, if there is a standby

	Database string // the one of several databases that the page is about; "" if the process has only one

	files assets.Files
}

// view returns the dot for a page at path.
func (s *Shell) view(p Page, path string) View {
	top := Root(path)
	return View{Page: p, Version: s.Version, Top: top, Root: top + s.Place.Base, Database: s.Place.Database, files: s.files}
}

// Asset returns the address of an embedded file. The address changes with the
// content, so browsers may cache the file.
func (v View) Asset(name string) (string, error) {
	address, ok := v.files.Address(name)
	if !ok {
		return "", fmt.Errorf("no file %q is served", name)
	}
	return v.Root + address, nil
}

// To returns the relative address of a page. link is the address as seen from the overview.
// Asynqmon's pages exist only once, whatever the number of databases.
func (v View) To(link string) string {
	if strings.HasPrefix(link, tasksPages) {
		return v.Top + link
	}
	return v.Root + link
}

const tasksPages = "monitoring/"

// markTab chooses the title and the icon of the browser's tab by the last verdict, if the
// verdict is not too old and the visitor may see it. markTab asks no server.
func (s *Shell) markTab(v *View) (err error) {
	icon := "icon.svg"
	if state := s.Watch.Recent(); state != nil && v.Section != "" {
		judged := sight.Judge(state)
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
