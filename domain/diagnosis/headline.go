package diagnosis

import (
	"slices"

	"outboxd/domain"
	"outboxd/domain/words"
)

// Sight is what is known about a system: what was cheap to know just now, and all
// findings, the worst first.
type Sight struct {
	Quick    Quick
	Findings []domain.Finding
}

// Blind is the sight of who may ask neither server: they count as not answering.
func Blind() Sight {
	q := Quick{PostgresErr: errNotAsked, RedisErr: errNotAsked}
	return Sight{q, q.Findings()}
}

var errNotAsked = domain.Errorf(domain.CodeUnavailable, "it is not asked")

// implied are findings that say nothing beside another one, which has the cause
// or names more.
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

// Merge puts together what a quick look found now, and what thorough looks found
// last: at most one finding of a code, the worst first. quick knows better whether
// a server answers.
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

// Once leaves one finding of each code, the worst one, and none that another one
// implies; the worst first.
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

// CoarseHeadline is Headline with numbers that change seldom, for those to whom it
// is read whenever it changes.
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

// Worst is the worst level of these findings; a note if there are none.
func Worst(found []domain.Finding) domain.FindingLevel {
	worst := domain.FindingNote
	for _, f := range found {
		if f.Level == domain.FindingBroken || worst == domain.FindingNote {
			worst = f.Level
		}
	}
	return worst
}
