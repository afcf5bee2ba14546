// Package shelltest renders templates of the pages in tests.
package shelltest

import (
	"testing"

	"outboxd/domain/access"
	"outboxd/handler/dashboard/shell"
)

// Content returns the content of a page as an admin sees it.
func Content(t *testing.T, template string, data any) string {
	t.Helper()
	page, err := shell.ParseTemplates().Write("content", shell.View{
		Page:    shell.Page{Template: template, Data: data},
		Visitor: shell.Visitor{Identity: access.Identity{Name: "ada", Role: access.Admin}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
