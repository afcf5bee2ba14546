package servers

import (
	"context"
	"fmt"
	"time"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/migrations"
	"outboxd/repository/examine"
	"outboxd/repository/postgres"
)

// From when on a state that is normal for a while is worth a finding: an open transaction, and an ordering key that keeps
// events waiting.
const (
	OldSnapshot = 5 * time.Minute
	OldKey      = 15 * time.Minute
	largeSlot   = 1 << 30 // bytes of WAL
	directConns = 2       // of a relay, beside its pool: LISTEN and the housekeeper's lock
)

// ExamineOptions are those of a process with this configuration.
func ExamineOptions(cfg *config.Config) examine.Options {
	o := examine.Options{
		Conns: cfg.PoolSize(), SnapshotAge: OldSnapshot, KeyAge: OldKey, SlotBytes: largeSlot, Now: time.Now,
	}
	if cfg.HasRole(config.RoleRelay) {
		o.Conns += directConns
	}
	return o
}

// ExamineSchema compares the schema with what this binary knows. A running
// daemon has made sure of that when it started.
func ExamineSchema(ctx context.Context, db *postgres.Database) ([]domain.Finding, error) {
	list, err := migrations.Status(ctx, db.SQL())
	if err != nil {
		return nil, err
	}
	pending := 0
	for _, m := range list {
		if m.AppliedAt.IsZero() {
			pending++
		}
	}
	if pending > 0 {
		return []domain.Finding{{
			Code: "schema-outdated", Level: domain.FindingWarning,
			Found:       fmt.Sprintf("%d of %d migrations are pending", pending, len(list)),
			Consequence: "processes of this version migrate at their start, or refuse to start with --migrate=off; what this version added was not looked at",
			Remedy:      "outboxd migrate up",
		}}, nil
	}
	unknown, err := migrations.Unknown(ctx, db.SQL())
	if err != nil || unknown == 0 {
		return nil, err
	}
	return []domain.Finding{{
		Code: "schema-newer", Level: domain.FindingNote,
		Found:       fmt.Sprintf("the schema has %d migrations that this binary does not know", unknown),
		Consequence: "it belongs to a newer outboxd; during a roll-out that is as it should be",
		Remedy:      "upgrade this binary",
	}}, nil
}

// The servers' names, for people.
const (
	Postgres = "PostgreSQL"
	Redis    = "Redis"
)

// Unusable is what is found where a look ended in an error.
func Unusable(server string, err error) domain.Finding {
	if f, known := domain.FindingOf(err); known {
		return f
	}
	return Unreachable(server)
}

// Unreachable is what is found where nothing can be looked at.
func Unreachable(server string) domain.Finding {
	f := domain.Finding{
		Level: domain.FindingWarning,
		Found: server + " cannot be reached",
	}
	if server == Postgres {
		f.Code, f.Consequence = "postgres-unreachable", "no event can be written, relayed or confirmed until it answers; none is lost"
		f.Remedy = "start it, or name another with --database-url; pg_isready says whether it takes connections"
		return f
	}
	f.Code, f.Consequence = "redis-unreachable", "events wait in PostgreSQL, and no task runs until it answers; none is lost"
	f.Remedy = "start it, or name another with --redis-url; redis-cli PING says whether it answers"
	return f
}
