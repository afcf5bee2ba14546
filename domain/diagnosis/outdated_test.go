package diagnosis_test

import (
	"errors"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/domain/overview"
)

// The last slower check found each of these problems 40 s ago. The finding is shown until newer facts disprove it.
func TestNewerFactsDisproveFindings(t *testing.T) {
	t.Parallel()
	now := time.Now()
	away := errors.New("away")
	queues := func(tasks, others int64) []overview.QueueStatus {
		return []overview.QueueStatus{{Name: "mail", Scheduled: tasks}, {Name: "images", Pending: others}}
	}
	serves := func(queues ...string) []overview.WorkerStatus {
		w := overview.WorkerStatus{Queues: map[string]int{}}
		for _, queue := range queues {
			w.Queues[queue] = 1
		}
		return []overview.WorkerStatus{w}
	}
	unserved := thorough.RedisFacts{Queues: &thorough.QueueFacts{Unserved: []thorough.UnservedQueue{{Name: "mail", Tasks: 3}, {Name: "images", Tasks: 2}}}}.Findings()
	unhandled := thorough.RedisFacts{Queues: &thorough.QueueFacts{Unhandled: []thorough.UnhandledTask{{Queue: "mail", ID: "1", Type: "mail:send"}}}}.Findings()
	held := thorough.PostgresFacts{Held: &thorough.HeldKeys{Keys: 2, Longest: time.Hour}}.Findings()
	silent := thorough.PostgresFacts{Leader: &thorough.Leader{PID: 1, Silent: time.Minute, Limit: time.Second}}.Findings()
	loading := []domain.Finding{{Code: "redis-loading", Level: domain.FindingBroken, Outage: true}}
	readOnly := []domain.Finding{{Code: "redis-read-only", Level: domain.FindingBroken}}
	for name, test := range map[string]struct {
		found  []domain.Finding
		change func(*diagnosis.Quick)
		stays  bool
	}{
		"no worker":                     {unserved, func(q *diagnosis.Quick) { q.Queues = queues(3, 2) }, true},
		"a worker of another queue":     {unserved, func(q *diagnosis.Quick) { q.Queues, q.Workers = queues(3, 2), serves("default") }, true},
		"a worker of one of the queues": {unserved, func(q *diagnosis.Quick) { q.Queues, q.Workers = queues(3, 2), serves("mail") }, true},
		"workers of both queues":        {unserved, func(q *diagnosis.Quick) { q.Queues, q.Workers = queues(3, 2), serves("mail", "images") }, false},
		"one served, one without tasks": {unserved, func(q *diagnosis.Quick) { q.Queues, q.Workers = queues(3, 0), serves("mail") }, false},
		"Redis does not say who serves": {unserved, func(q *diagnosis.Quick) { q.RedisErr = away }, true},
		"tasks of the type may wait":    {unhandled, func(q *diagnosis.Quick) { q.Queues = queues(1, 0) }, true},
		"no task of the type waits":     {unhandled, func(q *diagnosis.Quick) { q.Queues = queues(0, 1) }, false},
		"Redis does not say what waits": {unhandled, func(q *diagnosis.Quick) { q.RedisErr = away }, true},
		"an event is held":              {held, func(q *diagnosis.Quick) { q.Standing.Held = 1 }, true},
		"no event is held":              {held, func(*diagnosis.Quick) {}, false},
		"PostgreSQL does not say":       {held, func(q *diagnosis.Quick) { q.PostgresErr = away }, true},
		"the leader took no sample":     {silent, func(q *diagnosis.Quick) { q.Standing.SampledAt = now.Add(-41 * time.Second) }, true},
		"a leader took a sample since":  {silent, func(q *diagnosis.Quick) { q.Standing.SampledAt = now.Add(-39 * time.Second) }, false},
		"Redis answers":                 {loading, func(*diagnosis.Quick) {}, false},
		"Redis does not answer":         {loading, func(q *diagnosis.Quick) { q.RedisErr = away }, true},
		"Redis answers, but only reads": {readOnly, func(*diagnosis.Quick) {}, true},
	} {
		q := well(now)
		test.change(&q)
		found := diagnosis.Checked(append([]domain.Finding{}, test.found...), now.Add(-40*time.Second))
		stays := false
		for _, f := range q.Merge(found) {
			stays = stays || f.Code == found[0].Code
		}
		if len(found) != 1 || stays != test.stays {
			t.Errorf("%s: %s is shown: %t", name, said(found), stays)
		}
	}
}
