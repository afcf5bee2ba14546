package lookout_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"outboxd/app/lookout"
	"outboxd/app/servertest"
	"outboxd/config"
	"outboxd/config/value"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// redis is a Redis that answers, with archived tasks in two queues.
type redis struct {
	overview.QueueOverviews
	archived int64 // in each queue
	read     int   // how often the archived tasks of the first queue were read
	identity lost.QueueIdentity
	slow     bool  // it does not count its tasks in time
	away     error // the answer to a probe
	paused   bool  // every queue is
}

func (r *redis) Paused(_ context.Context, queues []string) ([]string, error) {
	if r.paused {
		return queues, nil
	}
	return nil, nil
}

func (r *redis) Ping(context.Context) error { return r.away }

func (r *redis) Queues(ctx context.Context) ([]overview.QueueStatus, error) {
	if r.slow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []overview.QueueStatus{{Name: "a", Archived: r.archived}, {Name: "b", Archived: r.archived}}, nil
}

func (r *redis) Workers(context.Context) ([]overview.WorkerStatus, error) { return nil, nil }

func (r *redis) NewestArchived(_ context.Context, queue string, _ int) ([]queued.ArchivedTask, error) {
	if queue == "a" {
		r.read++
	}
	return make([]queued.ArchivedTask, r.archived), nil
}

func (r *redis) Identify(context.Context, string) (lost.QueueIdentity, error) { return r.identity, nil }

// postgres is a database. It never answers if it hangs.
type postgres struct {
	overview.Overviews
	hangs   bool
	settled []int
	record  lost.QueueRecord
}

func (p *postgres) answer(ctx context.Context) error {
	if p.hangs {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (p *postgres) Standing(ctx context.Context) (overview.Standing, error) {
	return overview.Standing{}, p.answer(ctx)
}

func (p *postgres) Recall(ctx context.Context) (lost.QueueRecord, error) {
	return p.record, p.answer(ctx)
}

func (p *postgres) Settled(ctx context.Context, _ []queued.ArchivedTask, _ time.Duration) ([]int, error) {
	return p.settled, p.answer(ctx)
}

func look(r *redis, p *postgres) *lookout.Lookout {
	return lookout.New(lookout.Sources{Events: p, Queues: r, Archived: r, Settled: p.Settled, Identity: r, Memory: p, Probe: r})
}

func TestRedisIsNotBlamedForPostgreSQL(t *testing.T) {
	t.Parallel()
	l := look(&redis{archived: 3}, &postgres{hangs: true})
	for range 3 { // one directly after another
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		q := l.Quick(ctx)
		cancel()
		if q.RedisErr != nil || len(q.Queues) != 2 || !errors.Is(q.PostgresErr, context.DeadlineExceeded) {
			t.Errorf("of Redis it says %v and has %d queues; of PostgreSQL it says %v", q.RedisErr, len(q.Queues), q.PostgresErr)
		}
	}
}

// A Redis that answers the probe counts as reachable, even if it is too slow to count its
// tasks.
func TestASlowCountIsNoOutage(t *testing.T) {
	t.Parallel()
	for code, away := range map[string]error{"redis-slow": nil, "redis-unreachable": errors.New("connection refused")} {
		synctest.Test(t, func(t *testing.T) {
			found := look(&redis{slow: true, away: away}, &postgres{}).Quick(t.Context()).Findings()
			if !slices.ContainsFunc(found, func(f domain.Finding) bool { return f.Code == code }) {
				t.Errorf("%s is not among the findings %v", code, found)
			}
		})
	}
}

func TestArchivedTasksAreReadRarely(t *testing.T) {
	t.Parallel()
	r := &redis{archived: 3}
	l := look(r, &postgres{settled: []int{0, 4, 5}})
	for range 3 {
		if q := l.Quick(t.Context()); q.Settled["a"] != 1 || q.Settled["b"] != 2 {
			t.Errorf("settled are %v", q.Settled)
		}
		r.archived++ // in a storm of failures
	}
	if r.read != 1 {
		t.Errorf("the tasks were read %d times", r.read)
	}
}

// A person who resumes a queue changes Redis first, and then the record.
func TestAPauseThatEndsIsNotLost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		recorded int // how many looks find the pause on record
		paused   bool
		lost     bool
	}{
		"on record for long": {1000, false, true},
		"paused":             {1000, true, false},
		"being resumed":      {1, false, false},
		"not on record":      {0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &redis{paused: test.paused}
			looks := 0
			q := lookout.New(lookout.Sources{
				Events: &postgres{}, Queues: r, Probe: r,
				Recorded: func(context.Context) (map[string]setup.Pause, error) {
					if looks++; looks > test.recorded {
						return nil, nil
					}
					return map[string]setup.Pause{"mail": {By: "ada"}}, nil
				},
			}).Quick(t.Context())
			if lost := len(q.LostPauses) == 1 && q.LostPauses[0].Queue == "mail" && q.LostPauses[0].By == "ada"; lost != test.lost {
				t.Errorf("lost are %v", q.LostPauses)
			}
			said := slices.ContainsFunc(q.Findings(), func(f domain.Finding) bool { return f.Code == "queue-pause-lost" })
			if said != test.lost {
				t.Errorf("the finding is there: %t", said)
			}
		})
	}
}

// While PostgreSQL is down, the tasks are not read at each look, and what was settled stays settled.
func TestArchivedTasksAreReadRarelyInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, p := &redis{archived: 3}, &postgres{settled: []int{0, 4, 5}}
		l := look(r, p)
		for _, hangs := range []bool{false, true} {
			p.hangs = hangs
			for range 3 {
				if q := l.Quick(t.Context()); q.Settled["a"] != 1 || q.Settled["b"] != 2 {
					t.Errorf("hangs: %t: settled are %v", hangs, q.Settled)
				}
				synctest.Wait() // until the question has ended
			}
			time.Sleep(time.Minute)
		}
		if r.read != 2 {
			t.Errorf("the tasks were read %d times, want once before the outage and once in it", r.read)
		}
	})
}

func TestOneOfSeveralDatabasesDoesNotTellWhatIsSettledOrPaused(t *testing.T) {
	t.Parallel()
	cfg := config.Config{Databases: value.Sources{{Name: "a"}, {Name: "b"}}}
	for name, c := range map[string]*config.Config{"several": cfg.For(cfg.Databases[0]), "one": {}} {
		var s lookout.Sources
		if s.ReadDatabase(nil, c); (s.Settled == nil) != c.OneOfSeveral() || (s.Recorded == nil) != c.OneOfSeveral() {
			t.Errorf("%s: it asks what is settled: %t, which pauses are on record: %t", name, s.Settled != nil, s.Recorded != nil)
		}
	}
}
