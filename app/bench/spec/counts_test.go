package spec_test

import (
	"testing"

	"outboxd/app/bench/spec"
)

func TestCounts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"50k,500k,2m": "50k,500k,2m", "1": "1", "1500, 3K": "1500,3k", "1000k": "1m"} {
		var c spec.Counts
		if err := c.Set(text); err != nil || c.String() != want {
			t.Errorf("Set(%q): %s, %v, want %s", text, c.String(), err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "1,", "k", "1.5k", "9999999999999999999", "9000000m", "1g"} {
		c := spec.Counts{7}
		if err := c.Set(text); err == nil || c.String() != "7" {
			t.Errorf("Set(%q): %s, %v", text, c.String(), err)
		}
	}
}

func FuzzCounts(f *testing.F) {
	f.Add("50k,500k,2m")
	f.Add("1, 2k")
	f.Fuzz(func(t *testing.T, text string) {
		var c, again spec.Counts
		if c.Set(text) != nil {
			return
		}
		if err := again.Set(c.String()); err != nil || again.String() != c.String() {
			t.Errorf("%q is %v, and that is %v, %v", text, c, again, err)
		}
	})
}
