package lookout

import (
	"context"
	"time"

	"outboxd/config"
	"outboxd/domain/lost"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/jobs/publish"
	"outboxd/jobs/retries"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
)

// ReadDatabase fills in what a Lookout reads from a database. With several databases, s.Settled and s.Recorded
// stay nil. Each database knows only what became of its own events. So it would take the archived tasks of the others
// for tasks of dead letters or, if they are old, for settled. And a queue that was paused through one database may have
// been resumed through another.
func (s *Sources) ReadDatabase(db *postgres.Database, cfg *config.Config) {
	overviews := search.NewOverviews(db)
	s.Events, s.Memory = overviews, heal.NewQueueMemory(db)
	if !cfg.OneOfSeveral() {
		s.Settled, s.Retention, s.Recorded = overviews.Settled, cfg.Relay.InboxRetention, search.NewFigures(db).Pauses
	}
}

// ReadRedis fills in what a Lookout reads from a Redis.
func (s *Sources) ReadRedis(redis *broker.Redis) {
	overviews := inspect.NewOverviews(redis)
	publisher := publish.New(redis)
	s.Queues, s.Archived, s.Failing, s.Identity, s.Probe = overviews, overviews, retries.New(redis), publisher, publisher
}

// Archived reads archived tasks.
type Archived interface {
	NewestArchived(ctx context.Context, queue string, limit int) ([]queued.ArchivedTask, error)
}

// Settled returns the indexes of the tasks that need no attention: no dead letter belongs to the task,
// because the event took effect, or because a person dealt with it. A task older than retention without
// a dead letter counts too.
type Settled func(ctx context.Context, tasks []queued.ArchivedTask, retention time.Duration) ([]int, error)

// Probe tells whether Redis answers at all, by a probe that costs Redis little.
type Probe interface {
	Ping(ctx context.Context) error
}

// Identity tells which Redis this is.
type Identity interface {
	Identify(ctx context.Context, name string) (lost.QueueIdentity, error)
}

// Memory has the identity of the Redis that accepted the events.
type Memory interface {
	Recall(ctx context.Context) (lost.QueueRecord, error)
}
