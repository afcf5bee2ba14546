package sight

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
)

// The page lists the findings that are problems, each with its level and with the
// link to the page that shows more, if there is one.
func TestVerdictShowsTheProblems(t *testing.T) {
	t.Parallel()
	s := State{}
	s.Quick = diagnosis.Quick{At: time.Now(), Queues: []overview.QueueStatus{{Name: "q", Pending: 45_854, OldestAt: time.Now().Add(-12*time.Minute - 30*time.Second)}}}
	s.Findings = []domain.Finding{
		{Code: "no-relay", Level: domain.FindingBroken, Found: "no relay"},
		{Code: "dead-letters", Level: domain.FindingWarning, Found: "1 dead letter"},
		{Code: "pooler", Level: domain.FindingNote, Found: "a pooler"},
	}
	v := Judge(&s)
	var said []string
	for _, p := range v.Problems {
		said = append(said, p.Badge+" "+p.Found+" "+p.Link)
	}
	if got := strings.Join(said, "; "); got != "Broken no relay ; Warning 1 dead letter dead" {
		t.Errorf("it says %q", got)
	}
	if v.Level != Bad || v.Badge != "Broken" || v.Headline != "2 problems; 45,854 tasks wait, the oldest 12 min" {
		t.Errorf("%s, %s: %q", v.Level, v.Badge, v.Headline)
	}
	if v.Announced != "Broken: 2 problems; about 45,000 tasks wait, the oldest 12 min" {
		t.Errorf("it announces %q", v.Announced)
	}
	s.Findings = nil
	if v := Judge(&s); v.Level != Good || !strings.HasPrefix(v.Headline, "All well; ") {
		t.Errorf("without findings: %s, %q", v.Level, v.Headline)
	}
}
