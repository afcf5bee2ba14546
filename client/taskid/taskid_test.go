package taskid_test

import (
	"strconv"
	"strings"
	"testing"

	"outboxd/client/acknowledge"
	"outboxd/client/taskid"
)

func TestWhichTasksAreEvents(t *testing.T) {
	t.Parallel()
	const own, asynqs = "01900000-0000-7000-8000-000000000001", "01900000-0000-4000-8000-000000000001"
	for name, c := range map[string]struct {
		id         string
		marked     bool
		attempt    int
		generation int
		ours       bool
	}{
		"the relay's":              {own, true, 1, 0, true},
		"without the header":       {own, false, 1, 0, true},
		"replayed":                 {own + ".12", true, 1, 12, true},
		"of version 4":             {asynqs, true, 1, 0, true},
		"chosen by Asynq":          {asynqs, false, 1, 0, false},
		"that lost its header":     {asynqs, false, 2, 0, true},
		"replayed, of version 4":   {asynqs + ".1", false, 1, 1, true},
		"zero":                     {"00000000-0000-0000-0000-000000000000", true, 1, 0, false},
		"no UUID":                  {"by-hand", true, 1, 0, false},
		"a generation of zero":     {own + ".0", true, 1, 0, false},
		"a generation with a zero": {own + ".01", true, 1, 0, false},
		"a generation with a sign": {own + ".+1", true, 1, 0, false},
		"an empty generation":      {own + ".", true, 1, 0, false},
	} {
		headers := map[string]string{}
		if c.marked {
			headers[acknowledge.Header] = "mark"
		}
		id, generation, ours := taskid.Read(c.id, headers, c.attempt)
		if ours != c.ours || generation != c.generation || ours == id.IsZero() {
			t.Errorf("%s: %s, %d, %t", name, id, generation, ours)
		}
	}
}

// The parts of an event's task ID make up the same ID again.
func FuzzRead(f *testing.F) {
	for _, id := range []string{"01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000001.1", "x", ".", ""} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, generation, ours := taskid.Read(text, nil, 2)
		if !ours {
			if !id.IsZero() || generation != 0 {
				t.Fatalf("%q is no event's, but %s and %d", text, id, generation)
			}
			return
		}
		again := id.String()
		if generation > 0 {
			again += "." + strconv.Itoa(generation)
		}
		if again != strings.ToLower(text) {
			t.Fatalf("%q is read as %s", text, again)
		}
	})
}
