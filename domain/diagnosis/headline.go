package diagnosis

import (
	"slices"

	"outboxd/domain"
	"outboxd/domain/words"
)

// Sight is the state of a system as the pages and commands show it: the quickly readable facts of this moment, and
// all findings, worst first.
type Sight struct {
	Quick    Quick
	Findings []domain.Finding
}

// Blind returns what a process knows of the system if it may ask neither PostgreSQL nor Redis. Both count as not
// answering.
func Blind() Sight {
	q := Quick{PostgresErr: errNotAsked, RedisErr: errNotAsked}
	return Sight{q, q.Findings()}
}

var errNotAsked = domain.Errorf(domain.CodeUnavailable, "it is not asked")

// implied returns the code of a less specific finding that need not be shown beside a finding with this code; "" if
// there is none.
func implied(code string) string {
	switch code {
	case CodeLeaderSilent:
		return "leader-absent"
	case CodeUnserved:
		return "no-worker"
	case "schema-outdated":
		return "events-hidden"
	}
	return ""
}

// Merge joins the findings of q with the last findings of the slower checks, without those that q disproves: q is
// newer. Merge returns at most one finding of each code, worst first.
func (q Quick) Merge(thorough []domain.Finding) []domain.Finding {
	return Once(append(q.Findings(), slices.DeleteFunc(slices.Clone(thorough), q.outdates)...))
}

// Renew returns the findings of the last slower check of a Redis that several databases share. Renew drops the
// findings that q disproves, such as redis-unreachable. If Redis answered when q was read, Renew takes the paused
// queues from q.
func (q Quick) Renew(shared []domain.Finding) []domain.Finding {
	renewed := slices.DeleteFunc(slices.Clone(shared), q.outdates)
	if q.RedisErr == nil {
		renewed = append(renewed, PausedQueues(q.paused())...)
	}
	return renewed
}

// Once keeps the worst finding of each code, and removes findings that a more specific finding makes unnecessary.
// It returns the worst first.
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

// Headline summarizes a system in one line: how many problems it has, how many events and tasks wait, and for how
// long. Example: "4 problems; 45,854 tasks wait, the oldest 12 min".
func Headline(found []domain.Finding, w Waiting) string { return headline(found, w, w.String()) }

// CoarseHeadline is Headline with rounded numbers, which change seldom. CoarseHeadline is for screen readers, which
// read the line aloud each time it changes.
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
