package shell

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strings"

	"outboxd/handler/dashboard/show"
)

//go:embed templates
var embedded embed.FS

// Templates has the templates of each page, by the name of the page's file without its ending.
type Templates map[string]*template.Template

// ParseTemplates returns one template for each page: the layout with the page's own
// templates.
func ParseTemplates() Templates {
	layout := template.Must(template.New("layout").Funcs(show.Formats).ParseFS(embedded, "templates/layout.html", "templates/parts.html"))
	files, err := fs.Glob(embedded, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	pages := Templates{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		pages[name] = template.Must(template.Must(layout.Clone()).ParseFS(embedded, file))
	}
	return pages
}

// Write renders one template of a page: "layout" for the whole page.
func (t Templates) Write(name string, v View) ([]byte, error) {
	var page bytes.Buffer
	if err := t[v.Template].ExecuteTemplate(&page, name, v); err != nil {
		return nil, fmt.Errorf("render %s of the page %s: %w", name, v.Template, err)
	}
	return show.Visible(page.Bytes()), nil
}
