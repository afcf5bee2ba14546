package dashboard

import (
	"strings"
	"testing"

	"outboxd/domain"
)

// What the page sees at every look is not said again because the last
// examination saw it too.
func TestAProblemIsSaidOnce(t *testing.T) {
	t.Parallel()
	var s state
	s.Known, s.QueueKnown = true, true
	s.Standing.Dead = 1
	for _, code := range []string{"dead-letters", "no-relay", "events-late", "keys-held"} {
		s.Findings = append(s.Findings, domain.Finding{Code: code, Level: domain.FindingWarning, Found: "of " + code})
	}
	var found []string
	v := judge(&s)
	for _, p := range v.Problems {
		found = append(found, p.Found)
	}
	const want = "no relay is running; 1 dead letter; no worker is running; of keys-held"
	if got := strings.Join(found, "; "); got != want || v.Level != LevelBad {
		t.Errorf("it says %q, %s, want %q", got, v.Level, want)
	}
}
