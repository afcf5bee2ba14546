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
