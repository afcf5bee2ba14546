package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/lookout"
	"outboxd/app/servers"
	"outboxd/config"
	"outboxd/config/value"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
	"outboxd/migrations"
	"outboxd/relay"
	"outboxd/repository/examine"
	"outboxd/repository/postgres"
	"outboxd/repository/reading"
	"outboxd/repository/search"
)

// source is a database that this process serves, and the parts of this process that belong
// to that database. A process with several databases has several sources, and opens each
// of them while it runs: see source.run. The methods that only read a source are safe for
// concurrent use.
type source struct {
	d        *Daemon
	name     string // "": the database is not one of --databases
	cfg      *config.Config
	url      string
	log      *slog.Logger
	registry prometheus.Registerer

	// opened is closed when the source is open. The next four fields are set before that,
	// and do not change afterwards.
	opened   chan struct{}
	database *postgres.Database
	relay    *relay.Relay     // nil: not a role of this process
	watch    *watch           // nil if this process neither relays nor shows pages
	lookout  *lookout.Lookout // nil if this process neither relays nor shows pages

	payloadLimit atomic.Int64 // of the outbox when the source was opened, in bytes; 0: not known

	twin   atomic.Bool // this source is refused, because another one has the same outbox
	silent atomic.Bool // the database did not answer the last readiness check

	mu     sync.Mutex
	faults map[string]error // why parts of the source do not work, by the part's name
	closed bool
	reads  *reading.Reads // nil: no page reads from this source
}

// newSource returns a source that is not open. cfg is the configuration for this database
// alone.
func (d *Daemon) newSource(name string, cfg *config.Config, url string) *source {
	s := &source{d: d, name: name, cfg: cfg, url: url, log: d.log, registry: d.registry, opened: make(chan struct{})}
	if name != "" {
		s.log = d.log.With("source", name)
		s.registry = prometheus.WrapRegistererWith(prometheus.Labels{"source": name}, d.registry)
	}
	return s
}

// openSources opens the database of this process. If there are several databases,
// openSources opens none: their actors do, so that a database that is down does not
// prevent the start.
func (d *Daemon) openSources(ctx context.Context) error {
	d.undo = append(d.undo, d.closeSources)
	if len(d.cfg.Databases) == 0 {
		d.one = d.newSource("", d.cfg, d.servers.DatabaseURL)
		d.sources = []*source{d.one}
		return d.one.connect(ctx)
	}
	for _, named := range d.cfg.Databases {
		d.sources = append(d.sources, d.newSource(named.Name, d.cfg.For(named), string(named.URL)))
	}
	d.log.Info("this process serves several databases; the workers of their events and subscriptions are processes of their own",
		"databases", d.cfg.Databases.Names(), "connections_each", d.sizes.Pool)
	return nil
}

// connect connects to the database and prepares its schema; see prepareSchema.
func (s *source) connect(ctx context.Context) (err error) {
	open := servers.OpenDatabase
	if s.name != "" {
		open = servers.OpenSource
	}
	db, err := open(ctx, s.cfg, s.url, s.d.sizes.Pool, s.d.traces.Statements(), s.log)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.database = db
	closed := s.closed
	s.mu.Unlock()
	if closed {
		closeDatabase(db, s.log)
		return context.Canceled
	}
	return s.awaitSchema(ctx)
}

const schemaRetry = 200 * time.Millisecond

// awaitSchema calls prepareSchema. PostgreSQL may become unreachable during the start. In
// that case awaitSchema tries again until the connect timeout has passed.
func (s *source) awaitSchema(ctx context.Context) error {
	patience := time.NewTimer(s.cfg.Database.ConnectTimeout)
	defer patience.Stop()
	retry := time.NewTicker(schemaRetry)
	defer retry.Stop()
	for waiting := false; ; waiting = true {
		err := s.prepareSchema(ctx)
		if err == nil || !postgres.IsUnavailable(err) {
			return err
		}
		if !waiting {
			s.log.Info("the database went away; waiting for it", "patience", s.cfg.Database.ConnectTimeout, "error", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-patience.C:
			return err
		case <-retry.C:
		}
	}
}

// prepareSchema applies pending migrations and the configured payload limit. If this
// process may not migrate (--migrate=off), prepareSchema changes nothing, and returns an
// error if migrations are pending.
func (s *source) prepareSchema(ctx context.Context) error {
	for _, set := range servers.Migrations(s.cfg.RunsExample()) {
		if s.cfg.Migrate == config.MigrateOff {
			if err := set.Check(ctx, s.database.SQL()); err != nil {
				return err
			}
			continue
		}
		applied, err := set.Up(ctx, s.database.SQL(), s.log.With("component", "migrations"))
		if applied > 0 {
			s.log.Info("brought the schema up to date", "schema", s.database.Schema()+set.Suffix, "migrations", applied)
		}
		if err != nil {
			return err
		}
	}
	if s.cfg.Migrate != config.MigrateOff {
		if _, err := servers.LimitPayload(ctx, s.cfg, s.database, s.log); err != nil {
			return err
		}
	}
	if err := s.sayNewer(ctx); err != nil {
		return err
	}
	return s.readPayloadLimit(ctx)
}

// sayNewer logs a warning if the schema has migrations that this binary does not have. During a roll-out this is
// normal. After a roll-out it means that a process of the old version still runs.
func (s *source) sayNewer(ctx context.Context) error {
	unknown, err := migrations.Core().Unknown(ctx, s.database.SQL())
	if unknown > 0 {
		s.log.Warn("the schema is newer than this outboxd, which works with it; after a roll-out, replace this outboxd by the new version",
			"schema", s.database.Schema(), "unknown_migrations", unknown)
	}
	return err
}

// readPayloadLimit reads the outbox's payload limit from the database, and keeps it in
// s.payloadLimit. If another limit is configured, readPayloadLimit logs a warning.
func (s *source) readPayloadLimit(ctx context.Context) error {
	limit, err := migrations.PayloadLimit(ctx, s.database.SQL())
	if err != nil {
		return err
	}
	s.payloadLimit.Store(int64(limit))
	if s.cfg.Relay.MaxPayload != 0 && limit != int(s.cfg.Relay.MaxPayload) {
		s.log.Warn("the outbox has another payload limit than is configured; run outboxd migrate up with this configuration",
			"configured", s.cfg.Relay.MaxPayload, "in_force", value.Size(limit))
	}
	return nil
}

// assemble makes the relay and the examinations of the source, whose database is open.
func (s *source) assemble() {
	if s.cfg.HasRole(config.RoleRelay) {
		options := RelayOptions(s.cfg, s.database, s.d.redis, s.d.process)
		options.Publisher, options.Logger, options.Registry = s.d.traced(options.Publisher), s.log, s.registry
		options.SubscriptionsChanged = s.d.subscriptionsChanged
		options.Queues.Foreign = s.d.foreignQueues
		s.relay = relay.New(options)
	}
	if s.cfg.HasRole(config.RoleRelay) || s.cfg.HasRole(config.RoleMonitor) {
		s.watch = newWatch(diagnosis.PostgreSQL, examine.New(s.database, servers.ExamineOptions(s.cfg)), s.log)
		sources := lookout.Sources{Foreign: s.d.foreignQueues, Process: s.itself, Thorough: s.findings}
		sources.ReadDatabase(s.database, s.cfg)
		sources.ReadRedis(s.d.redis)
		s.lookout = lookout.New(sources)
	}
	close(s.opened)
}

// isOpen reports whether the source is open.
func (s *source) isOpen() bool {
	select {
	case <-s.opened:
		return true
	default:
		return false
	}
}

// open01 returns the value of the metric outboxd_relay_source_open.
func (s *source) open01() float64 {
	if s.whyNot() == nil {
		return 1
	}
	return 0
}

// itself returns the facts about this process that findings depend on.
func (s *source) itself() diagnosis.Process {
	p := diagnosis.Process{Draining: s.d.lineup.isDraining()}
	if s.relay != nil {
		p.Breakers = []diagnosis.Breaker{
			{Server: diagnosis.Redis, Open: s.relay.QueueUsable() != nil}, {Server: diagnosis.PostgreSQL, Open: s.relay.DatabaseUsable() != nil},
		}
	}
	return p
}

func (s *source) knownEvents(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return search.NewKnownEvents(s.database, s.cfg.Relay.History).Among(ctx, ids)
}

func (s *source) receivers(ctx context.Context) ([]overview.ReceiverStatus, error) {
	return search.NewOverviews(s.database).Receivers(ctx)
}

// findings returns the findings of the last thorough examinations, the worst first.
func (s *source) findings() []domain.Finding {
	found := slices.Clone(s.watch.findings())
	found = append(found, s.d.shared()...)
	if s.relay != nil {
		// The relay of this process already knows which queues Redis refuses. The last
		// examination of Redis may be older than the refusal.
		for _, f := range diagnosis.ForbiddenQueues(s.relay.UnusableQueues()) {
			found = append(slices.DeleteFunc(found, func(g domain.Finding) bool { return g.Code == f.Code }), f)
		}
	}
	domain.SortFindings(found)
	return found
}

// hangs returns an error if a relay of this source hangs.
func (s *source) hangs() error {
	if !s.isOpen() || s.relay == nil {
		return nil
	}
	return s.relay.Hangs()
}

// ping returns nil if the relay can work with the database, or, without a relay, if the
// database answers.
func (s *source) ping(ctx context.Context) error {
	if err := s.whyNot(); err != nil {
		return domain.Errorf(domain.CodeUnavailable, "%s", outsidersText(err))
	}
	err := s.database.Ping(ctx)
	s.silent.Store(err != nil)
	if err != nil || s.relay == nil {
		return err
	}
	return s.relay.DatabaseUsable()
}

var errOpening = domain.Errorf(domain.CodeUnavailable, "it is being opened")

func (s *source) close() {
	s.mu.Lock()
	s.closed = true
	db, reads := s.database, s.reads
	s.mu.Unlock()
	if reads != nil {
		reads.Close()
	}
	if db != nil {
		closeDatabase(db, s.log)
	}
}

// poolPatience is how long closing the pool may wait for connections in use.
const poolPatience = 5 * time.Second

// closeDatabase closes a pool. closeDatabase waits only a limited time, because a
// server that does not answer can block the close.
func closeDatabase(db *postgres.Database, log *slog.Logger) {
	closed := make(chan struct{})
	go func() { db.Close(); close(closed) }()
	patience := time.NewTimer(poolPatience)
	defer patience.Stop()
	select {
	case <-closed:
	case <-patience.C:
		log.Warn("the database connections could not be closed in time; the server will find out", "patience", poolPatience)
	}
}
