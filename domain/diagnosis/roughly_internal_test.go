package diagnosis

import (
	"strconv"
	"strings"
	"testing"
)

func TestARoughNumberIsAtMostATenthAway(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{19: "19", 20: "about 20", 27: "about 25", 124: "about 120", 224: "about 220", 1_234_567: "about 1,200,000"} {
		if got := roughly(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	for n := range int64(100_000) {
		said, err := strconv.ParseInt(strings.NewReplacer(about, "", ",", "").Replace(roughly(n)), 10, 64)
		if err != nil || 10*max(said-n, n-said) > n {
			t.Fatalf("%d is %d: %v", n, said, err)
		}
	}
}
