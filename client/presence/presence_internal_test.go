package presence

import (
	"testing"
	"time"
)

func TestWhatAWorkerSays(t *testing.T) {
	t.Parallel()
	at := time.Now().Truncate(time.Millisecond)
	written := Presence{Own: true, Version: "orders 14"}
	for name, c := range map[string]struct {
		text    string
		started time.Time
		want    Presence
	}{
		"of this process":      {written.text(at), at.Add(-time.Hour), written},
		"at the same time":     {written.text(at), at, written},
		"a moment before":      {written.text(at), at.Add(early), written},
		"of an earlier one":    {written.text(at), at.Add(early + time.Microsecond), Presence{}},
		"without a version":    {Presence{}.text(at), at, Presence{}},
		"of other people":      {Presence{Version: "v1"}.text(at), at, Presence{Version: "v1"}},
		"not ours":             {"v1", at, Presence{}},
		"not ours, with words": {"the version v1", at, Presence{}},
		"nothing":              {"", at, Presence{}},
		"half a character":     {Presence{Version: "v\xc3"}.text(at), at, Presence{Version: "v"}},
	} {
		if got := Parse(c.text, c.started); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
