package dead

import (
	"strings"
	"testing"

	"outboxd/handler/dashboard/shell/shelltest"
)

// A part of the choice that a link set can be removed again, and the rest stays.
func TestAChoiceThatNoFieldShowsCanBeRemoved(t *testing.T) {
	t.Parallel()
	var p deadPage
	p.Type, p.ErrorForm, p.NotErrorForms = "a", "no invoice #", []string{"b", "c"}
	page := shelltest.Content(t, "dead", &p)
	for _, want := range []string{
		`only: no invoice # <a href="dead?not-error-form=b&amp;not-error-form=c&amp;type=a"`,
		`not: b <a href="dead?error-form=no&#43;invoice&#43;%23&amp;not-error-form=c&amp;type=a"`,
		`not: c <a href="dead?error-form=no&#43;invoice&#43;%23&amp;not-error-form=b&amp;type=a"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s:\n%s", want, page)
		}
	}
}
