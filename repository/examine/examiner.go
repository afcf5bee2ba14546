package examine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/domain"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/repository/postgres"
)

// Options are the limits and the configuration with which an Examiner compares the
// database.
type Options struct {
	// Conns is the largest number of connections that one process with this configuration
	// opens.
	Conns int
	// ProducerRole is a role that must be able to write events. "" checks no role.
	ProducerRole string
	// SnapshotAge is how long a transaction may stay open, and KeyAge how long an event may
	// keep other events of its ordering key waiting. If one of them takes longer, there is
	// a finding.
	SnapshotAge, KeyAge time.Duration
	// LeaderSilence is how long the leader may send PostgreSQL no message. 0 means twice its
	// usual interval.
	LeaderSilence time.Duration
	// SlotBytes is how many bytes of WAL a replication slot may keep.
	SlotBytes int64
	// Listens says that relays with this configuration LISTEN at ListenURL (see
	// repository.NewPresence). If so, the Examiner tries whether notifications arrive. This
	// trial of LISTEN opens a connection outside the pool, and lasts some seconds if no
	// notification arrives.
	Listens   bool
	ListenURL string
	// Now is this machine's clock.
	Now func() time.Time
}

// Examiner implements domain.Examiner for the database. It changes nothing. One
// examination is one transaction. It needs a further transaction after each check that
// fails.
type Examiner struct {
	db *postgres.Database
	o  Options
}

// New returns the examiner of db.
func New(db *postgres.Database, o Options) *Examiner { return &Examiner{db: db, o: o} }

var _ domain.Examiner = (*Examiner)(nil)

// check is one part of an examination.
type check struct {
	about string // completes "PostgreSQL does not tell "
	look  func(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error
}

func (e *Examiner) checks() []check {
	checks := []check{
		{"how the server is set up", e.server},
		{"whether the clocks agree", e.clock},
		{"whether there are connections left", e.connections},
		{"whether autovacuum keeps up", e.autovacuum},
		{"whether an old transaction holds back vacuum", e.snapshots},
		{"whether a prepared transaction was forgotten", e.prepared},
		{"whether a replication slot holds back vacuum or WAL", e.slots},
		{"whether the leader gives signs of life", e.leader},
		{"whether tasks have no event any more", e.wentBack},
		{"whether the leader fails at something", e.failing},
		{"whether the history has its partitions", e.partitions},
		{"whether this role may keep the partitions", e.ownRights},
		{"whether row-level security hides rows", e.policies},
		{"whether what is published can be changed", e.identities},
		{"whether the triggers are on", e.triggers},
		{"whether some roles bypass the triggers", e.replicaRoles},
		{"whether positions of ordering keys go on from the highest", e.positions},
		{"whether tasks are missing", e.missing},
		{"whether schedules are late", e.schedules},
		{"whether ordering keys are held", e.heldKeys},
		{"whether something stands between outboxd and PostgreSQL", e.pooler},
	}
	if e.o.ProducerRole != "" {
		checks = append(checks, check{"what the producer's role may do", e.producer})
	}
	return checks
}

// examinePatience bounds a whole examination, and questionPatience one of its statements.
// An examination must not be a burden for a server that is in trouble.
const (
	examinePatience  = 15 * time.Second
	questionPatience = 3 * time.Second
)

// Examine implements domain.Examiner.
func (e *Examiner) Examine(ctx context.Context) ([]domain.Finding, error) {
	facts, err := e.Facts(ctx)
	return facts.Findings(), err
}

// Facts reads the facts from which the method Findings makes findings. Errors:
// domain.CodeUnavailable; an error without a code if PostgreSQL refuses every check, for
// example because the role may no longer connect.
func (e *Examiner) Facts(ctx context.Context) (facts thorough.PostgresFacts, err error) {
	ctx, cancel := context.WithTimeout(ctx, examinePatience)
	defer cancel()
	checks := e.checks()
	for all := len(checks); len(checks) > 0; {
		left, err := e.read(ctx, checks, &facts)
		switch {
		case isUndefined(err): // the schema is older, which another finding reports
		case isRefused(err) && len(facts.Hidden)+1 < all:
			facts.Hidden = append(facts.Hidden, checks[len(checks)-len(left)-1].about)
		case err != nil:
			return thorough.PostgresFacts{}, postgres.Translate(err, "examine the database")
		}
		checks = left
	}
	if e.o.Listens {
		if facts.Listen, err = e.listening(ctx); err != nil {
			return thorough.PostgresFacts{}, postgres.Translate(err, "try whether notifications arrive")
		}
	}
	return facts, nil
}

// read runs checks in one transaction until one fails, and returns the checks after the
// failed one. If the transaction itself is refused, the first check counts as failed.
func (e *Examiner) read(ctx context.Context, checks []check, facts *thorough.PostgresFacts) (left []check, err error) {
	tx, err := e.db.Pool().BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return checks[1:], err
	}
	defer postgres.RollBack(ctx, tx)
	limits := fmt.Sprintf("SET LOCAL statement_timeout = %s; SET LOCAL lock_timeout = %[1]s", postgres.Milliseconds(questionPatience))
	if _, err := tx.Conn().PgConn().Exec(ctx, limits).ReadAll(); err != nil {
		return checks[1:], err
	}
	for i, c := range checks {
		if err := c.look(ctx, tx, facts); err != nil {
			return checks[i+1:], err
		}
	}
	_ = tx.Commit(ctx) // everything was read, and nothing written
	return nil, nil
}

// isUndefined reports whether err says that the schema does not have a table, column or
// function that a statement names.
func isUndefined(err error) bool {
	switch postgres.SQLState(err) {
	case "42P01", "42703", "42883": // table, column, function
		return true
	}
	return false
}

// isRefused reports whether a healthy server refused a query: the role may not run it, or
// it took too long.
func isRefused(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	return pg.Code == postgres.Cancelled || pg.Code == "55P03" || !postgres.IsUnavailable(err)
}

// legible replaces control characters in a name, so that a message with the name stays in
// one line.
func legible(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}

func inSeconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
