package dashboard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
)

// Level says how bad something is; it is a class in the style sheet too.
type Level string

// The levels.
const (
	LevelGood Level = "good"
	LevelWarn Level = "warn"
	LevelBad  Level = "bad"
)

// problem is something to do, and why.
type problem struct {
	Level             Level
	Found             string
	Consequence       string
	Remedy            string
	Link, LinkCaption string // below the first page
}

// verdict answers whether all is well.
type verdict struct {
	Level    Level
	Headline string
	Behind   string    // how far, in words that change seldom
	Problems []problem // the worst first
}

const (
	// lateAfter is when a due event that waits is a problem: well above what a
	// sweep, a retry's delay or a busy minute explains.
	lateAfter = 30 * time.Second
	// goneAfter is when a relay without a sign of life counts as gone. It gives
	// one every 15 s.
	goneAfter = time.Minute
)

// judge weighs what was seen.
func judge(s *state) verdict {
	v := verdict{Level: LevelGood}
	add := func(p problem) {
		if p.Level == LevelBad || v.Level == LevelGood {
			v.Level = p.Level
		}
		v.Problems = append(v.Problems, p)
	}
	judgeServers(s, add)
	if s.Known {
		judgeRelays(s, add)
	}
	if s.Known && s.QueueKnown {
		judgeWorkers(s, add)
	}
	for _, f := range s.Findings {
		if f.Level == domain.FindingWarning && !judged(f.Code) {
			add(problem{Level: LevelWarn, Found: f.Found, Consequence: f.Consequence, Remedy: f.Remedy})
		}
	}
	slices.SortStableFunc(v.Problems, func(a, b problem) int { return strings.Compare(string(a.Level), string(b.Level)) }) // bad before warn
	switch {
	case v.Level == LevelBad:
		v.Headline = "Something is broken"
	case v.Level == LevelWarn:
		v.Headline = "Works, with warnings"
	case s.Standing.Now.Confirmed > 0:
		v.Headline = "All well: events arrive"
	default:
		v.Headline = "All well, and quiet"
	}
	v.Behind = behind(s)
	return v
}

// judged tells of what the page itself sees at every look, so that it is not
// said twice.
func judged(code string) bool {
	return code == "dead-letters" || code == "no-relay" || code == "events-late"
}

// behind says how long events wait to be enqueued. It is coarse, because a
// screen reader reads it again whenever it changes.
func behind(s *state) string {
	switch late := s.Late(); {
	case !s.Known:
		return "How far behind cannot be told."
	case late < time.Second:
		return "Nothing waits for longer than a second."
	case late < 10*time.Second:
		return "Behind by seconds."
	case late < lateAfter:
		return "Behind by half a minute."
	case late < time.Hour:
		return fmt.Sprintf("Behind by %d min.", int(late.Minutes())+1)
	default:
		return "Behind by " + duration(late.Truncate(time.Hour)) + "."
	}
}

func judgeServers(s *state, add func(problem)) {
	if !s.Known {
		add(problem{
			Level: LevelBad, Found: "PostgreSQL cannot be read",
			Consequence: "nothing is relayed, and producers that write there fail too; nothing is lost",
			Remedy:      "bring it back: everything goes on by itself",
		})
	}
	if !s.QueueKnown {
		add(problem{
			Level: LevelBad, Found: "Redis cannot be reached",
			Consequence: "events wait in the outbox, and no attempt is charged to them; nothing is lost",
			Remedy:      "bring it back: relaying goes on by itself within a second or so",
		})
	}
	for _, b := range s.Breakers {
		if b.Open && (b.Server == "postgres" && s.Known || b.Server == "redis" && s.QueueKnown) {
			add(problem{
				Level: LevelBad, Found: "the relay has stopped using " + title(b.Server) + ", which does answer",
				Consequence: "events wait in the outbox", Remedy: "the log of the relay says what the server refuses",
			})
		}
	}
	if s.Readiness.Status == "draining" {
		add(problem{Level: LevelWarn, Found: "this process is shutting down", Consequence: "this page ends with it", Remedy: "none is needed"})
	}
}

func judgeRelays(s *state, add func(problem)) {
	alive := 0
	for _, r := range s.Standing.Relays {
		if s.Standing.At.Sub(r.SeenAt) < goneAfter {
			alive++
		}
	}
	switch {
	case alive == 0:
		add(problem{
			Level: LevelBad, Found: "no relay is running",
			Consequence: "events stay in the outbox", Remedy: "start one: outboxd --roles=relay",
		})
	case s.Late() > lateAfter:
		add(problem{
			Level: LevelBad, Found: "the oldest due event has waited for " + duration(s.Late()),
			Consequence: "consumers are that far behind",
			Remedy:      "see whether a bounded queue is full or a breaker open; else raise relay.concurrency",
			Link:        "events?state=pending", LinkCaption: "Pending events",
		})
	case s.Standing.SampledAt.IsZero() || s.Standing.At.Sub(s.Standing.SampledAt) > goneAfter:
		add(problem{
			Level: LevelWarn, Found: "nothing was measured in the last minute",
			Consequence: "rates and charts are missing; history is not trimmed", Remedy: "a relay that just started takes a few seconds; else its log says why it cannot keep house",
		})
	}
	if dead := s.Standing.Dead; dead > 0 {
		add(problem{
			Level: LevelWarn, Found: count(dead) + plural(dead, " dead letter", " dead letters"),
			Consequence: "these events have not taken effect; events of the same ordering key may wait behind them",
			Remedy:      "find out why, then replay or discard them", Link: "dead", LinkCaption: "Dead letters",
		})
	}
}

func judgeWorkers(s *state, add func(problem)) {
	if len(s.Workers) == 0 {
		level := LevelWarn
		if s.InQueue() > 0 {
			level = LevelBad
		}
		add(problem{
			Level: level, Found: "no worker is running",
			Consequence: fmt.Sprintf("%s %s in Redis", count(s.InQueue()), plural(s.InQueue(), "task waits", "tasks wait")),
			Remedy:      "start one: outboxd --roles=worker, or your own",
		})
	}
	if retrying := s.Retrying(); retrying > 0 {
		add(problem{
			Level: LevelWarn, Found: count(retrying) + plural(retrying, " task has failed and is", " tasks have failed and are") + " tried again",
			Consequence: plural(retrying, "its effect is late", "their effects are late"), Remedy: plural(retrying, "see its error", "see the error of one of them"), Link: "monitoring/tasks/", LinkCaption: "Tasks",
		})
	}
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
