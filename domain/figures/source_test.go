package figures_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/domain/figures"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

// servers answers as PostgreSQL and as Redis. When Redis is asked for the queues, the record gets
// the pause of another queue.
type servers struct {
	figures.Store
	recorded map[string]setup.Pause
	pairs    []figures.Stored
	failing  []queued.FailingGroup
	workers  []overview.WorkerStatus
	paused   []string // queues that Redis does not know
}

func (s *servers) Paused(_ context.Context, queues []string) (paused []string, err error) {
	for _, queue := range queues {
		if slices.Contains(s.paused, queue) {
			paused = append(paused, queue)
		}
	}
	return paused, nil
}

func (s *servers) Snapshot(context.Context) (figures.Snapshot, error) {
	return figures.Snapshot{Pairs: s.pairs, Measurement: figures.Measurement{HourMeasured: time.Minute}}, nil
}

func (s *servers) Summary(context.Context) (queued.FailingSummary, error) {
	return queued.FailingSummary{Groups: s.failing}, nil
}

func (s *servers) Pauses(context.Context) (map[string]setup.Pause, error) { return s.recorded, nil }

func (s *servers) Queues(context.Context) ([]overview.QueueStatus, error) {
	s.recorded = map[string]setup.Pause{"paused meanwhile": {}, "lost": {}}
	queues := []overview.QueueStatus{{Name: "paused meanwhile"}}
	for _, g := range s.failing {
		queues = append(queues, overview.QueueStatus{Name: g.Queue, Retry: g.Tasks})
	}
	return queues, nil
}

func (s *servers) Workers(context.Context) ([]overview.WorkerStatus, error) { return s.workers, nil }

// A pause on record counts as lost only if no other database can have ended it.
func TestLostPauses(t *testing.T) {
	t.Parallel()
	for _, several := range []bool{false, true} {
		s := &servers{recorded: map[string]setup.Pause{"lost": {By: "ada"}}}
		lost := ""
		for _, q := range (&figures.Source{Store: s, Queues: s, OneOfSeveral: several}).All(t.Context()).Lines {
			if q.LostPause != nil {
				lost += q.Name
			}
		}
		if want := map[bool]string{false: "lost", true: ""}[several]; lost != want {
			t.Errorf("one of several: %t: %q is lost, want %q", several, lost, want)
		}
	}
}

// A queue that was paused again after Redis lost everything is paused, although Redis knows it only when it gets a task.
func TestAPausedQueueThatRedisDoesNotKnowIsPaused(t *testing.T) {
	t.Parallel()
	s := &servers{recorded: map[string]setup.Pause{"lost": {By: "ada"}, "again": {By: "ada", Reason: "the bank is closed"}}, paused: []string{"again"}}
	states := map[string]string{}
	for _, q := range (&figures.Source{Store: s, Queues: s}).All(t.Context()).Lines {
		switch {
		case q.Paused != nil && q.LostPause == nil:
			states[q.Name] = "paused by " + q.Paused.By + ": " + q.Paused.Reason
		case q.LostPause != nil:
			states[q.Name] = "lost"
		}
	}
	if states["again"] != "paused by ada: the bank is closed" || states["lost"] != "lost" {
		t.Errorf("the queues are %v", states)
	}
}

// Failed attempts are known only if outboxd's own worker makes all attempts.
func TestFailedAttemptsOfOtherWorkersAreNotKnown(t *testing.T) {
	t.Parallel()
	passed := figures.Passed{Confirmed: 10}
	s := &servers{
		pairs: []figures.Stored{
			{Type: "own", Queue: "own", Hour: passed},
			{Type: "own", Queue: "both", Hour: passed},
			{Type: "elsewhere", Queue: "theirs", Hour: passed},
			{Type: "shared", Queue: "shared", Hour: passed},
			{Type: "unserved", Queue: "unserved", Hour: passed},
			{Type: "theirs", Queue: "both", Hour: passed},
			{Type: "theirs", Queue: "theirs", Hour: passed},
			{Type: "delivered", Queue: "subscription:crm", Hour: passed},
		},
		failing: []queued.FailingGroup{{Type: "never confirmed", Queue: "failing", Tasks: 3}},
		workers: []overview.WorkerStatus{
			{Own: true, Queues: map[string]int{"own": 1, "both": 1, "shared": 1}},
			{Queues: map[string]int{"theirs": 1, "shared": 1}},
		},
	}
	source := &figures.Source{Store: s, Queues: s, Failing: s, Handled: map[string]string{"own": "", "elsewhere": "", "shared": "", "unserved": ""}}
	known := map[string]bool{}
	for _, q := range source.All(t.Context()).Lines {
		known["queue "+q.Name] = q.FailedKnown()
	}
	for _, line := range source.Types(t.Context()).Lines {
		known["type "+line.Name] = line.FailedKnown()
	}
	if want := map[string]bool{
		"queue shared": false, "queue unserved": false, "type elsewhere": false, "type shared": false, "type unserved": false,
		"queue own": true, "queue both": false, "queue theirs": false, "queue subscription:crm": true, "queue failing": false, "queue paused meanwhile": true,
		"type own": true, "type theirs": false, "type delivered": true, "type never confirmed": false,
	}; !maps.Equal(known, want) {
		t.Errorf("known are %v, want %v", known, want)
	}
}

// A pause stops also those types of a queue of which PostgreSQL has no figures yet.
func TestAQueueHasTheTypesOfItsFailingTasks(t *testing.T) {
	t.Parallel()
	s := &servers{
		pairs:   []figures.Stored{{Type: "measured", Queue: "ours"}},
		failing: []queued.FailingGroup{{Type: "new", Queue: "ours", Tasks: 1}, {Type: "other", Queue: "theirs", Tasks: 1}},
	}
	source := &figures.Source{Store: s, Queues: s, Failing: s, Foreign: func() []string { return []string{"theirs"} }}
	types := map[string]string{}
	for _, q := range source.All(t.Context()).Lines {
		types[q.Name] = strings.Join(q.Types, " ")
	}
	if types["ours"] != "measured new" || types["theirs"] != "" {
		t.Errorf("the queues have the types %v", types)
	}
}

// The finding that no worker serves a queue may be a minute old.
func TestAQueueWithAWorkerIsServed(t *testing.T) {
	t.Parallel()
	s := &servers{
		failing: []queued.FailingGroup{{Type: "t", Queue: "served", Tasks: 1}, {Type: "t", Queue: "unserved", Tasks: 1}},
		workers: []overview.WorkerStatus{{Queues: map[string]int{"served": 1}}},
	}
	source := &figures.Source{Store: s, Queues: s, Failing: s, Unserved: func() []string { return []string{"served", "unserved"} }}
	for _, q := range source.All(t.Context()).Lines {
		if q.Unserved != (q.Name == "unserved") {
			t.Errorf("queue %s is unserved: %t", q.Name, q.Unserved)
		}
	}
}
