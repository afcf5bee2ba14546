package diagnosis

import (
	"slices"

	"outboxd/domain"
	"outboxd/domain/words"
)

// Sight is everything known about a system: the cheap facts of this moment, and
// all findings, the worst first.
type Sight struct {
	Quick    Quick
	Findings []domain.Finding
}

// Blind is the sight of a process that may ask neither server. Both count as not
// answering.
func Blind() Sight {
	q := Quick{PostgresErr: errNotAsked, RedisErr: errNotAsked}
	return Sight{q, q.Findings()}
}

var errNotAsked = domain.Errorf(domain.CodeUnavailable, "it is not asked")

// implied returns the code of the finding that makes this one needless, because
// it names the cause, or more; "" if there is none.
func implied(code string) string {
	switch code {
	case "leader-silent":
		return "leader-absent"
	case "queue-unserved":
		return "no-worker"
	case "schema-outdated":
		return "events-hidden"
	}
	return ""
}

// Merge joins the findings of this quick look and the last findings of thorough
// looks: at most one of each code, the worst first. Whether a server answers is
// taken from the quick look, which is newer.
func (q Quick) Merge(thorough []domain.Finding) []domain.Finding {
	found := q.Findings()
	for _, f := range thorough {
		stale := f.Code == "postgres-unreachable" && q.PostgresErr == nil || f.Code == "redis-unreachable" && q.RedisErr == nil
		if !stale {
			found = append(found, f)
		}
	}
	return Once(found)
}

// Once keeps the worst finding of each code and removes those that another
// finding implies. It returns the worst first.
func Once(found []domain.Finding) []domain.Finding {
	domain.SortFindings(found)
	once := []domain.Finding{}
	for _, f := range found {
		has := func(g domain.Finding) bool { return g.Code == f.Code }
		implies := func(g domain.Finding) bool { return implied(g.Code) == f.Code }
		if !slices.ContainsFunc(once, has) && !slices.ContainsFunc(found, implies) {
			once = append(once, f)
		}
	}
	return once
}

// Headline is the first sentence about a system: how much is wrong, how much waits,
// and for how long. "4 problems; 45,854 tasks wait, the oldest 12 min".
func Headline(found []domain.Finding, w Waiting) string { return headline(found, w, w.String()) }

// CoarseHeadline is Headline with numbers that change seldom, for screen readers,
// which read it out whenever it changes.
func CoarseHeadline(found []domain.Finding, w Waiting) string { return headline(found, w, w.Coarse()) }

func headline(found []domain.Finding, w Waiting, waiting string) string {
	problems := 0
	for _, f := range found {
		if f.IsProblem() {
			problems++
		}
	}
	if problems == 0 && !w.EventsKnown {
		return "No problem is known; " + waiting
	}
	if problems == 0 {
		return "All well; " + waiting
	}
	return words.Many(problems, "problem") + "; " + waiting
}

// Worst returns the worst level of the findings; FindingNote if there are none.
func Worst(found []domain.Finding) domain.FindingLevel {
	worst := domain.FindingNote
	for _, f := range found {
		if f.Level == domain.FindingBroken || worst == domain.FindingNote {
			worst = f.Level
		}
	}
	return worst
}
