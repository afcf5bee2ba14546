package daemon

import (
	"crypto/rand"
	"os"
	"time"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
	"outboxd/jobs/publish"
	"outboxd/jobs/retries"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/recall"
	"outboxd/repository/schedules"
	"outboxd/repository/search"
	"outboxd/repository/subscriptions"
	"outboxd/repository/upkeep"
)

// archiveEvery is how often the leader reads the archived tasks of all queues.
const archiveEvery = 20 * time.Second

// RelayOptions returns the options of a relay for this configuration, database and
// Redis. The caller adds at least the logger and the metrics registry.
func RelayOptions(cfg *config.Config, db *postgres.Database, redis *broker.Redis, process domain.RelayProcess) relay.Options {
	store := repository.NewOutbox(db, repository.OutboxOptions{
		History: cfg.Relay.History > 0, Unconfirmed: cfg.Relay.Unconfirmed, DeadHoldsKey: cfg.Relay.Ordering == config.OrderingBlock,
	})
	publisher := publish.New(redis)
	publisher.WaitReplicas(cfg.Redis.WaitReplicas)
	publisher.Unconfirmed(cfg.Relay.Unconfirmed)
	return relay.Options{
		Duties: lead.Duties{
			Housekeeping: upkeep.NewHousekeeping(db, string(cfg.Relay.ListenURL)),
			Unfinished:   publisher.Tasks(),
			Cancelled:    publisher.Tasks(),
			Changes:      recall.New(db).Asking(publisher.Tasks()),
			Replays:      subscriptions.New(db),
			Schedules:    schedules.New(db),
			Unconfirmed:  cfg.Relay.Unconfirmed,
			DeadHoldsKey: cfg.Relay.Ordering == config.OrderingBlock,
			Outward:      outwardTypes(),
			Healing: &lead.Healing{
				Queue: publisher, Memory: heal.NewQueueMemory(db),
				CheckInterval: cfg.Redis.CheckInterval, Unconfirmed: cfg.Relay.Unconfirmed,
			},
			Archives: &lead.Archives{
				Queue: inspect.NewArchive(redis), Every: archiveEvery,
				Failures: deadletters.NewFailedTasks(db, cfg.Relay.Ordering == config.OrderingBlock), Tasks: publisher.Tasks(),
			},
			Acknowledging: &lead.Acknowledging{
				Open:   func() (domain.Acknowledgements, error) { return publish.NewAcknowledgements(redis), nil },
				Events: confirm.NewAcknowledgedEvents(db),
			},
			Reconciliation: &lead.Reconciliation{
				Events: heal.NewMissingEvents(db), Tasks: publisher.Tasks(), Resend: cfg.Relay.Missing == config.MissingResend,
			},
			Queues: &lead.Queues{
				Overviews: inspect.NewOverviews(redis), Failing: retries.New(redis), Receivers: search.NewOverviews(db).Receivers,
			},
			History:        cfg.Relay.History,
			InboxRetention: cfg.Relay.InboxRetention,
		},
		Store:             store,
		Publisher:         publisher,
		Presence:          repository.NewPresence(db, string(cfg.Relay.ListenURL)),
		Database:          db.Ping,
		Process:           process,
		Concurrency:       cfg.Relay.Concurrency,
		BatchSize:         cfg.Relay.BatchSize,
		MaxAttempts:       cfg.Relay.MaxAttempts,
		BackoffBase:       cfg.Relay.BackoffBase,
		BackoffMax:        cfg.Relay.BackoffMax,
		PollInterval:      cfg.Relay.PollInterval,
		PollMin:           cfg.Relay.PollMin,
		PollWithoutListen: cfg.Relay.PollWithoutListen,
		Listen:            cfg.Relay.Listen != config.ListenOff,
		MaxQueue:          cfg.Relay.MaxQueue,
		Lengths:           inspect.NewOverviews(redis),
	}
}

// NewProcess returns the identity of this process that other processes see. The
// identity's ID is random, because the operating system reuses process IDs.
func NewProcess(version string) domain.RelayProcess {
	p := domain.RelayProcess{PID: os.Getpid(), Version: version}
	p.Host, _ = os.Hostname()
	_, _ = rand.Read(p.ID[:]) // never fails
	return p
}

// traced returns p unchanged if traces are off, or a Publisher that also makes
// spans.
func (d *Daemon) traced(p domain.Publisher) domain.Publisher {
	if d.traces == nil {
		return p
	}
	return publish.Trace(p, d.traces.Tracer("outboxd/jobs"))
}
