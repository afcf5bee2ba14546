package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"outboxd/app/servertest"
	"outboxd/handler/handlertest"
)

// browser sends forms as a browser does, without a screen.
type browser struct {
	t *testing.T
	s *handlertest.Site
}

// page returns a page that the visitor with the admin token gets.
func (b browser) page(path string) string {
	b.t.Helper()
	a := b.s.Get(path, "Accept", "text/html", "Authorization", "Bearer "+handlertest.AdminToken)
	if a.Status != http.StatusOK {
		b.t.Fatalf("%s: %d %s", path, a.Status, a.Body)
	}
	return a.Body
}

// form returns what a browser sends for the first form of a page whose address ends with the given text.
func (b browser) form(page, address string) url.Values {
	b.t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		b.t.Fatal(err)
	}
	for node := range root.Descendants() {
		if node.Data == "form" && strings.HasSuffix(attribute(node, "action"), address) {
			return fieldsOf(node)
		}
	}
	b.t.Fatalf("no form is sent to %s:\n%s", address, page)
	return nil
}

// fieldsOf returns the fields of a form as the standard of HTML says: a field of one line has no line breaks, and every
// line break that is sent is CR LF.
func fieldsOf(form *html.Node) url.Values {
	values := url.Values{}
	add := func(node *html.Node, value string) {
		value = strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\r", "\n")
		values.Add(attribute(node, "name"), strings.ReplaceAll(value, "\n", "\r\n"))
	}
	for node := range form.Descendants() {
		switch value := attribute(node, "value"); {
		case node.Type != html.ElementNode || attribute(node, "name") == "":
		case node.Data == "textarea":
			text := ""
			for part := range node.ChildNodes() {
				text += part.Data
			}
			add(node, text)
		case node.Data != "input":
		case attribute(node, "type") == "hidden":
			add(node, value)
		case attribute(node, "type") != "checkbox":
			add(node, strings.NewReplacer("\r", "", "\n", "").Replace(value))
		}
	}
	return values
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// send posts a form, and returns the address to which the answer redirects.
func (b browser) send(path string, form url.Values) (location string) {
	b.t.Helper()
	a := b.s.Do(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html", "Authorization", "Bearer "+handlertest.AdminToken)
	location = a.Header.Get("Location")
	if a.Status != http.StatusSeeOther || location == "" {
		b.t.Fatalf("%s with %v: %d %s", path, form, a.Status, a.Body)
	}
	from, err := url.Parse(b.s.URL + path)
	if err == nil {
		from, err = from.Parse(location)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return from.RequestURI()
}

// refused posts a form that is refused, and returns the page with the reason.
func (b browser) refused(path string, form url.Values, status int) (page string) {
	b.t.Helper()
	a := b.s.Do(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html", "Authorization", "Bearer "+handlertest.AdminToken)
	if a.Status != status {
		b.t.Fatalf("%s with %v: %d %s", path, form, a.Status, a.Body)
	}
	return a.Body
}

// ended waits for the end of a change, and returns the page that shows it.
func (b browser) ended(path string) (page string) {
	b.t.Helper()
	servertest.Eventually(b.t, "the change has ended", func() bool {
		page = b.page(path)
		return strings.Contains(page, "Done: ") || strings.Contains(page, "Ended: ")
	})
	return page
}

// link returns the address of the first link with this caption, as seen from the page's path.
func (b browser) link(page, path, caption string) string {
	b.t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		b.t.Fatal(err)
	}
	for node := range root.Descendants() {
		if node.Data == "a" && node.FirstChild != nil && node.FirstChild.Data == caption {
			from, err := url.Parse(b.s.URL + path)
			if err == nil {
				from, err = from.Parse(attribute(node, "href"))
			}
			if err != nil {
				b.t.Fatal(err)
			}
			return from.RequestURI()
		}
	}
	b.t.Fatalf("the page has no link %q:\n%s", caption, page)
	return ""
}
