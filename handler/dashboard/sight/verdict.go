package sight

import (
	"fmt"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/words"
)

// Level says how bad a state is. The style sheet has a class with the name of each
// level.
type Level string

// The levels.
const (
	Good Level = "good"
	Warn Level = "warn"
	Bad  Level = "bad"
)

// problem is a finding that needs action. Link leads to the page that shows details;
// "" if no page does.
type problem struct {
	domain.Finding
	Level             Level
	Badge             string
	Link, LinkCaption string // Link is relative to the overview
	// Checked says how long ago the check began that made the finding; "" if its facts are of this moment.
	Checked string
}

// Verdict is the summary at the top of the overview: whether the system works, and
// the problems if there are any.
type Verdict struct {
	Level    Level
	Badge    string
	Headline string
	// Announced is the text for screen readers. Announced says the same as
	// Headline, but its numbers are rounded and change seldom, because a screen
	// reader reads the text again whenever it changes.
	Announced string
	Problems  []problem // the worst first
}

// Alarm returns the verdict for the title of the browser's tab: the badge with the number
// of problems; "" if all is well.
func (v Verdict) Alarm() string {
	if v.Level == Good {
		return ""
	}
	return fmt.Sprintf("%s (%s)", v.Badge, words.Count(len(v.Problems)))
}

// Judge turns the findings of a state into a verdict.
func Judge(s *State) Verdict {
	level, badge := badgeOf(diagnosis.Worst(s.Findings))
	waiting := s.Quick.Waiting()
	v := Verdict{
		Level: level, Badge: badge,
		Headline: diagnosis.Headline(s.Findings, waiting), Announced: badge + ": " + diagnosis.CoarseHeadline(s.Findings, waiting),
	}
	for _, f := range s.Findings {
		if !f.IsProblem() {
			continue
		}
		p := problem{Finding: f}
		p.Level, p.Badge = badgeOf(f.Level)
		p.Link, p.LinkCaption = more(f.Code)
		if !f.CheckedAt.IsZero() {
			p.Checked = words.Ago(s.Quick.At, f.CheckedAt)
		}
		v.Problems = append(v.Problems, p)
	}
	return v
}

func badgeOf(level domain.FindingLevel) (Level, string) {
	switch level {
	case domain.FindingBroken:
		return Bad, "Broken"
	case domain.FindingWarning:
		return Warn, "Warning"
	default:
		return Good, "Healthy"
	}
}

// more returns the link to the page with details about a finding: its address, relative to
// the overview, and its caption. Both are "" if there is no such page.
func more(code string) (link, caption string) {
	switch code {
	case "events-late":
		return "events?state=pending", "Pending events"
	case "keys-held":
		return "events?state=held", "Held events"
	case "dead-letters":
		return "dead", "Dead letters"
	case "tasks-failing":
		return "failing", "Failing tasks"
	case "queue-paused", "queue-pause-lost", "queue-unserved", "type-unhandled", "backlog-growing":
		return "queues", "Queues"
	case "no-worker":
		return "workers", "Workers"
	case "receiver-down":
		return "subscriptions", "Subscriptions"
	case "schedules-late":
		return "schedules", "Schedules"
	}
	return "", ""
}
