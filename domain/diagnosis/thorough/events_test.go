package thorough_test

import (
	"testing"
	"time"

	"outboxd/domain/diagnosis/thorough"
)

func TestHeldKeysNameDeadLettersOnlyIfThereAreAny(t *testing.T) {
	t.Parallel()
	for dead, want := range map[int64]string{
		0: "2 ordering keys hold events back, the longest for 1 h",
		1: "2 ordering keys hold events back, the longest for 1 h; 1 of them waits for a dead letter",
		2: "2 ordering keys hold events back, the longest for 1 h; 2 of them wait for a dead letter",
	} {
		facts := thorough.PostgresFacts{Held: &thorough.HeldKeys{Keys: 2, Dead: dead, Longest: time.Hour}}
		if found := facts.Findings(); len(found) != 1 || found[0].Found != want {
			t.Errorf("with %d dead letters: %v, want %q", dead, found, want)
		}
	}
}
