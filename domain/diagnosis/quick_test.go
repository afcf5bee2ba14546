package diagnosis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/diagnosistest"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

// The helper said returns the findings as code/level, with spaces between.
func said(found []domain.Finding) string {
	var list []string
	for _, f := range found {
		list = append(list, f.Code+"/"+string(f.Level))
	}
	return strings.Join(list, " ")
}

// The helper well returns a system that works: a relay, a recent sample of the leader, a worker,
// and nothing to do.
func well(now time.Time) diagnosis.Quick {
	return diagnosis.Quick{
		At: now,
		Standing: overview.Standing{At: now, SampledAt: now.Add(-5 * time.Second), Relays: []overview.RelayStatus{
			{StartedAt: now.Add(-time.Hour), SeenAt: now.Add(-15 * time.Second)},
		}},
		Queues: []overview.QueueStatus{{Name: "q"}}, Workers: []overview.WorkerStatus{{Host: "h"}},
	}
}

// grows lets the backlog of the queue q, which the worker serves, grow from 900 to the given tasks.
func grows(q *diagnosis.Quick, tasks int64) {
	q.Standing.QueuedBefore, q.Standing.QueuedNow = 900, tasks
	q.Queues[0].Pending = tasks
	q.Workers[0].Queues = map[string]int{"q": 1}
}

func TestQuickFindings(t *testing.T) {
	t.Parallel()
	now := time.Now()
	utc := func(after time.Duration) string { return now.Add(after).UTC().Format("15:04:05") }
	tests := map[string]struct {
		change func(*diagnosis.Quick)
		want   string
		says   string // a part of the first finding's text
	}{
		"well":                 {func(*diagnosis.Quick) {}, "", ""},
		"no relay":             {func(q *diagnosis.Quick) { q.Standing.Relays = nil }, "no-relay/broken", "for 1 min"},
		"a relay that is gone": {func(q *diagnosis.Quick) { q.Standing.Relays[0].SeenAt = now.Add(-diagnosis.RelayGone) }, "no-relay/broken", ""},
		"just in time":         {func(q *diagnosis.Quick) { q.Standing.OldestDue = now.Add(-diagnosis.EventsLate) }, "", ""},
		"late":                 {func(q *diagnosis.Quick) { q.Standing.OldestDue = now.Add(-diagnosis.EventsLate - time.Second) }, "events-late/broken", "due for 1 min 1 s"},
		"unkept":               {func(q *diagnosis.Quick) { q.Standing.SampledAt = now.Add(-5 * time.Minute) }, "leader-absent/warning", "for 5 min"},
		"never kept":           {func(q *diagnosis.Quick) { q.Standing.SampledAt = time.Time{} }, "leader-absent/warning", "for 1 h"},
		"just started": {func(q *diagnosis.Quick) {
			q.Standing.SampledAt, q.Standing.Relays[0].StartedAt = time.Time{}, now.Add(-diagnosis.LeaderAbsence)
		}, "", ""},
		"two that died lately": {func(q *diagnosis.Quick) {
			q.Standing.Dead, q.Standing.OldestDead, q.Standing.Hour.Died = 9, now.Add(-72*time.Hour), 2
		}, "dead-letters/warning", "9 dead letters, the oldest of 3 d ago; 2 events died in the last hour"},
		"one dead letter":     {func(q *diagnosis.Quick) { q.Standing.Dead, q.Standing.OldestDead = 1, now.Add(-72*time.Hour) }, "dead-letters/warning", "1 dead letter, the oldest of 3 d ago"},
		"many dead letters":   {func(q *diagnosis.Quick) { q.Standing.Dead = overview.StandingCounted }, "dead-letters/warning", "50,000 or more dead letters"},
		"no worker":           {func(q *diagnosis.Quick) { q.Workers = nil }, "no-worker/warning", ""},
		"no worker for tasks": {func(q *diagnosis.Quick) { q.Workers, q.Queues[0].Pending = nil, 1 }, "no-worker/broken", "1 task waits in Redis"},
		"no worker for another's tasks": {func(q *diagnosis.Quick) {
			q.Workers, q.Queues[0].Pending, q.Foreign = nil, 1, []string{"q"}
		}, "no-worker/warning", ""},
		"deliveries to a paused receiver": {func(q *diagnosis.Quick) {
			q.Workers, q.Queues = nil, []overview.QueueStatus{{Name: "subscription:crm", Pending: 3, Retry: 1}}
			q.Standing.Receivers = []overview.ReceiverStatus{{Subscription: "crm", Paused: true}}
		}, "no-worker/warning", ""},
		"a receiver that is down": {func(q *diagnosis.Quick) {
			q.Standing.Receivers = []overview.ReceiverStatus{{Subscription: "crm", Down: &setup.ReceiverDown{Since: now.Add(-time.Hour), Reason: "status 503"}}}
		}, "receiver-down/warning", "crm for 1 h; the last attempt: status 503"},
		"a paused receiver that was down": {func(q *diagnosis.Quick) {
			q.Standing.Receivers = []overview.ReceiverStatus{{Subscription: "crm", Paused: true, Down: &setup.ReceiverDown{Since: now}}}
		}, "", ""},
		"nothing ever enqueued": {func(q *diagnosis.Quick) { q.Workers, q.Queues = nil, nil }, "", ""},
		"failing":               {func(q *diagnosis.Quick) { q.Queues[0].Retry = 12500 }, "tasks-failing/warning", "12,500 tasks have failed and are tried again later"},
		"failing and dead": {func(q *diagnosis.Quick) {
			q.Queues[0].Retry, q.Standing.Dead = 2, 1
			q.Failing.Groups = []queued.FailingGroup{{Type: "mail:send", Queue: "q", Tasks: 2, Error: "send to c-17@example.com: refused", ErrorForm: "send to c-#@example.com: refused"}}
		}, "tasks-failing/warning dead-letters/warning", `2 of type "mail:send" (queue q), such as: send to c-17@example.com: refused`},
		"failing with few attempts left": {func(q *diagnosis.Quick) {
			q.Queues[0].Retry = 2
			q.Failing.Groups = []queued.FailingGroup{{Type: "mail:send", Queue: "q", Tasks: 2, Error: "refused", Left: 1}}
		}, "tasks-failing/warning", `2 of type "mail:send" (queue q), some with 1 attempt left, such as: refused`},
		"archived": {func(q *diagnosis.Quick) {
			q.Queues[0].Archived, q.Settled = 3, map[string]int64{"q": 1}
		}, "tasks-archived/note", "3 tasks are archived in Redis; the events of 1 of them are settled, for example replayed or discarded"},
		"archived and replayed": {func(q *diagnosis.Quick) { q.Queues[0].Archived, q.Settled = 3, map[string]int64{"q": 3} }, "", ""},
		"a loss":                {func(q *diagnosis.Quick) { q.Loss = "the canary is gone" }, "redis-lost-data/warning", "the canary is gone"},
		"a backlog grows":       {func(q *diagnosis.Quick) { grows(q, 2500) }, "backlog-growing/warning", "2,500 tasks wait in Redis; 10 minutes ago there were 900"},
		"a backlog shrinks":     {func(q *diagnosis.Quick) { grows(q, 2500); q.Standing.QueuedBefore = 2400 }, "", ""},
		"a backlog of a queue that no worker serves": {func(q *diagnosis.Quick) {
			grows(q, 2500)
			q.Queues = []overview.QueueStatus{{Name: "q", Pending: 100}, {Name: "lonely", Pending: 2400}}
		}, "", ""},
		"a backlog of a paused queue": {func(q *diagnosis.Quick) { grows(q, 2500); q.Queues[0].PausedAt = now }, "queue-paused/warning", "queue q is paused"},
		"another's pause":             {func(q *diagnosis.Quick) { q.Queues[0].PausedAt, q.Foreign = now, []string{"q"} }, "", ""},
		"a backlog while Redis is away": {func(q *diagnosis.Quick) {
			grows(q, 2500)
			q.RedisErr = domain.Errorf(domain.CodeUnavailable, "away")
		}, "redis-unreachable/broken backlog-growing/warning", ""},
		"one heal": {func(q *diagnosis.Quick) {
			q.Standing.Heals, q.Standing.LastHeals = 1, []overview.Heal{{At: now.Add(-3 * time.Minute), Reason: "Redis was emptied"}}
		}, "healed/warning", "sent again 1 time in the last hour: 3 min ago (at " + utc(-3*time.Minute) + " UTC), because Redis was emptied; events"},
		"several heals": {func(q *diagnosis.Quick) {
			q.Standing.Heals = 4
			q.Standing.LastHeals = []overview.Heal{{At: now.Add(-3 * time.Minute), Reason: "Redis was restarted"}, {At: now.Add(-20 * time.Minute), Reason: "Redis was emptied"}}
		}, "healed/warning", "4 times in the last hour: 3 min ago (at " + utc(-3*time.Minute) + " UTC), because Redis was restarted; 20 min ago (at " + utc(-20*time.Minute) + " UTC), because Redis was emptied; 2 times before that"},
		"a heal that is over": {func(q *diagnosis.Quick) {
			q.Standing.Heals, q.Standing.LastHeals = 1, []overview.Heal{{At: now.Add(-diagnosis.HealRecent - time.Second), Reason: "Redis was emptied"}}
		}, "", ""},
		"another's failing": {func(q *diagnosis.Quick) { q.Queues[0].Retry, q.Foreign = 1, []string{"q"} }, "", ""},
		"PostgreSQL away":   {func(q *diagnosis.Quick) { q.PostgresErr = domain.Errorf(domain.CodeUnavailable, "away") }, "postgres-unreachable/broken", ""},
		"PostgreSQL hides":  {func(q *diagnosis.Quick) { q.PostgresErr = errors.New("permission denied") }, "events-hidden/note", ""},
		"Redis away":        {func(q *diagnosis.Quick) { q.RedisErr = domain.Errorf(domain.CodeUnavailable, "away") }, "redis-unreachable/broken", ""},
		"Redis refuses": {func(q *diagnosis.Quick) {
			q.RedisErr = &domain.Error{Code: domain.CodeUnavailable, Finding: &domain.Finding{Code: "redis-rights", Level: domain.FindingBroken}}
		}, "redis-rights/broken", ""},
		"a breaker": {func(q *diagnosis.Quick) { q.Process.Breakers = []diagnosis.Breaker{{diagnosis.Redis, true}} }, "breaker-open/broken", "stopped using Redis"},
		"a breaker whose server is away": {func(q *diagnosis.Quick) {
			q.Process.Breakers, q.RedisErr = []diagnosis.Breaker{{diagnosis.Redis, true}}, domain.Errorf(domain.CodeUnavailable, "away")
		}, "redis-unreachable/broken", ""},
		"draining":        {func(q *diagnosis.Quick) { q.Process.Draining = true }, "draining/warning", ""},
		"the worst first": {func(q *diagnosis.Quick) { q.Standing.Dead, q.Standing.Relays = 1, nil }, "no-relay/broken dead-letters/warning", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := well(now)
			test.change(&q)
			found := q.Findings()
			if said(found) != test.want {
				t.Fatalf("found %q, want %q: %v", said(found), test.want, found)
			}
			if test.says != "" && !strings.Contains(found[0].String(), test.says) {
				t.Errorf("it does not say %q: %s", test.says, found[0])
			}
			diagnosistest.WantCatalogued(t, found)
		})
	}
}

// Merge drops a finding of the slower checks if a newer one has the same code or
// contradicts it. Merge also drops a finding that a more specific one makes
// unnecessary.
func TestFindingsAreMerged(t *testing.T) {
	t.Parallel()
	q := well(time.Now())
	q.Standing.SampledAt = time.Time{}
	q.Standing.Dead, q.Queues[0].Retry = 1, 1
	found := q.Merge([]domain.Finding{
		{Code: "redis-unreachable", Level: domain.FindingBroken},
		{Code: "queue-paused", Level: domain.FindingWarning, Found: "before it was resumed"},
		{Code: "leader-silent", Level: domain.FindingWarning},
		{Code: "dead-letters", Level: domain.FindingWarning, Found: "old"},
		{Code: "queue-unserved", Level: domain.FindingBroken, Queues: []string{"q"}},
	})
	if said(found) != "queue-unserved/broken tasks-failing/warning dead-letters/warning leader-silent/warning" || found[2].Found == "old" {
		t.Errorf("found %v", found)
	}
}

func TestHeadlines(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tests := map[string]struct {
		change func(*diagnosis.Quick)
		want   string
		coarse string // "" for the same
	}{
		"nothing": {func(*diagnosis.Quick) {}, "All well; nothing waits", ""},
		"tasks": {func(q *diagnosis.Quick) {
			q.Queues[0].Pending, q.Queues[0].Retry, q.Queues[0].OldestAt = 45_000, 854, now.Add(-12*time.Minute-59*time.Second)
			q.Workers, q.Standing.Dead = nil, 1
		}, "3 problems; 45,854 tasks wait, the oldest 12 min", "3 problems; about 45,000 tasks wait, the oldest 12 min"},
		"one event": {func(q *diagnosis.Quick) { q.Standing.Due, q.Standing.OldestDue = 1, now.Add(-3*time.Second) }, "All well; 1 event waits, the oldest 3 s", ""},
		"both": {func(q *diagnosis.Quick) {
			q.Standing.Held, q.Standing.OldestHeld, q.Queues[0].Pending = 2, now.Add(-2*time.Hour), 1
		}, "All well; 2 events and 1 task wait, the oldest 2 h", ""},
		"too many to count": {func(q *diagnosis.Quick) { q.Standing.Due, q.Standing.Pending = overview.StandingCounted, 1_234_567 }, "All well; about 1,234,567 events wait", ""},
		"a few tasks":       {func(q *diagnosis.Quick) { q.Queues[0].Pending = 19 }, "All well; 19 tasks wait", ""},
		"some tasks":        {func(q *diagnosis.Quick) { q.Queues[0].Pending = 88 }, "All well; 88 tasks wait", "All well; about 90 tasks wait"},
		"planned":           {func(q *diagnosis.Quick) { q.Standing.Pending, q.Queues[0].Scheduled, q.Queues[0].Active = 5, 5, 5 }, "All well; nothing waits", ""},
		"without Redis": {
			func(q *diagnosis.Quick) {
				q.Standing.Due, q.RedisErr = 1, domain.Errorf(domain.CodeUnavailable, "away")
			},
			"1 problem; 1 event waits in PostgreSQL; the backlog in Redis is unknown", "",
		},
		"without PostgreSQL": {
			func(q *diagnosis.Quick) { q.PostgresErr = errors.New("permission denied") },
			"No problem is known; nothing waits in Redis; the backlog in PostgreSQL is unknown", "",
		},
		"without both": {func(q *diagnosis.Quick) {
			q.PostgresErr = domain.Errorf(domain.CodeUnavailable, "away")
			q.RedisErr = q.PostgresErr
		}, "2 problems; the backlog is unknown", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := well(now)
			test.change(&q)
			found := q.Findings()
			if got := diagnosis.Headline(found, q.Waiting()); got != test.want {
				t.Errorf("it says %q, want %q", got, test.want)
			}
			want := test.coarse
			if want == "" {
				want = strings.Replace(test.want, "1,234,567", "1,200,000", 1)
			}
			if got := diagnosis.CoarseHeadline(found, q.Waiting()); got != want {
				t.Errorf("it announces %q, want %q", got, want)
			}
		})
	}
}
