package servers

import (
	"context"
	"time"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/migrations"
	"outboxd/repository/examine"
	"outboxd/repository/postgres"
)

// directConns is how many connections a relay has outside its pool at most: one for LISTEN
// and one for the leader's lock.
const directConns = 2

// ExamineOptions returns the options for examining PostgreSQL in a process with
// this configuration.
func ExamineOptions(cfg *config.Config) examine.Options {
	o := examine.Options{
		Conns: cfg.PoolSize(), SnapshotAge: diagnosis.SnapshotOpen, KeyAge: diagnosis.KeyHeld, SlotBytes: diagnosis.SlotBytes, Now: time.Now,
	}
	if cfg.HasRole(config.RoleRelay) {
		o.Conns += directConns
	}
	return o
}

// ExamineSchema compares the schema with the migrations of this binary, without those of
// the example.
func ExamineSchema(ctx context.Context, db *postgres.Database) ([]domain.Finding, error) {
	list, err := migrations.Core().Status(ctx, db.SQL())
	if err != nil {
		return nil, err
	}
	facts := thorough.SchemaFacts{Migrations: len(list)}
	for _, m := range list {
		if m.AppliedAt.IsZero() {
			facts.Pending++
		}
	}
	if facts.Pending == 0 {
		if facts.Unknown, err = migrations.Core().Unknown(ctx, db.SQL()); err != nil {
			return nil, err
		}
	}
	return facts.Findings(), nil
}
