package figures

import (
	"strings"
	"testing"

	"outboxd/domain/figures"
)

// TestCutNumbersAreLowerBounds has more pending events than are counted.
func TestCutNumbersAreLowerBounds(t *testing.T) {
	t.Parallel()
	view := figures.View[figures.Type]{Seen: figures.Seen{Cut: figures.Cut{Pending: true}}}
	d := newTypeDocument(&figures.Type{Name: "mail", Sum: figures.Sum{Pending: 50_000, Dead: 7}}, &view)
	var text strings.Builder
	typesTable(&text, &TypesDocument{[]TypeDocument{d}, listDocument{Complete: view.Cut.Complete()}}, &view.Seen)
	for _, want := range []string{"RATE 5m", "\t50,000 or more\t0\t0\t7\t", "There are more than were counted: at most 50,000 events of each state are counted."} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, text.String())
		}
	}
	if len(d.AtLeast) != 1 || d.AtLeast[0] != "pending" {
		t.Errorf("in JSON %q are lower bounds", d.AtLeast)
	}
}

// Workers of another program try the events, so the number of failed attempts is not
// known.
func TestTheTableSaysWhyFailedIsNotKnown(t *testing.T) {
	t.Parallel()
	const why = "attempts of workers of your own, which outboxd does not see"
	for _, unseen := range []bool{true, false} {
		view := figures.View[figures.Type]{}
		d := newTypeDocument(&figures.Type{Name: "mail", Sum: figures.Sum{Unseen: unseen}}, &view)
		var text strings.Builder
		typesTable(&text, &TypesDocument{[]TypeDocument{d}, listDocument{Complete: true}}, &view.Seen)
		if said := text.String(); strings.Contains(said, why) != unseen || !strings.Contains(said, "FAILED 1h\tDIED 1h\tP50 1h") {
			t.Errorf("unseen %t:\n%s", unseen, said)
		}
	}
}
