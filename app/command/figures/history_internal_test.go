package figures

import (
	"strings"
	"testing"
)

// TestTheCommandsBelowAHistoryCanBePasted has a name that a shell would split.
func TestTheCommandsBelowAHistoryCanBePasted(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	writeHistory(&text, nil, "queue", "a $b")
	if !strings.Contains(text.String(), "outboxd events list --queue 'a $b';") {
		t.Errorf("it says %q", text.String())
	}
}

// Only numbers that are estimates are marked, and only then the mark is explained.
func TestEstimatesInAHistoryAreMarked(t *testing.T) {
	t.Parallel()
	var exact, mixed strings.Builder
	historyTable(&exact, []pointDocument{{Confirmed: 4}}, false)
	historyTable(&mixed, []pointDocument{{Confirmed: 4}, {Confirmed: 0, Estimated: true}}, false)
	if text := exact.String(); strings.Contains(text, "~") {
		t.Errorf("exact: %s", text)
	}
	if text := mixed.String(); !strings.Contains(text, "\t4\t") || !strings.Contains(text, "\tfew\t") || !strings.Contains(text, "CONFIRMED ~ or few: an estimate.") {
		t.Errorf("mixed: %s", text)
	}
}
