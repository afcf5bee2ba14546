package app

import (
	"context"
	"fmt"
	"time"

	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs"
	"outboxd/migrations"
	"outboxd/repository"
)

// From when on a state that is normal for a while is worth a finding.
const (
	oldSnapshot   = 5 * time.Minute
	oldKey        = 15 * time.Minute
	largeSlot     = 1 << 30 // bytes of WAL
	directConns   = 2       // of a relay, beside its pool: LISTEN and the housekeeper's lock
	doctorTimeout = time.Minute
)

// examineOptions are those of a process with this configuration.
func examineOptions(cfg *config.Config) repository.ExamineOptions {
	o := repository.ExamineOptions{
		Conns: cfg.PoolSize(), SnapshotAge: oldSnapshot, KeyAge: oldKey, SlotBytes: largeSlot, Now: time.Now,
	}
	if cfg.HasRole(config.RoleRelay) {
		o.Conns += directConns
	}
	return o
}

// addWatches adds the looks at the servers whose findings this process shows:
// where it relays, or has pages. The others would only repeat them.
func (d *Daemon) addWatches() error {
	log := d.log.With("component", "doctor")
	add := func(server string, examiner domain.Examiner) {
		w := &watch{server: server, examiner: examiner, log: log}
		d.watches = append(d.watches, w)
		d.addSupervised(stageMonitor, "examination of "+server, w.run)
	}
	shows := d.cfg.HasRole(config.RoleRelay) || d.cfg.HasRole(config.RoleMonitor)
	if d.database != nil && shows {
		add(serverPostgres, repository.NewExaminer(d.database, examineOptions(d.cfg)))
	}
	if d.redis == nil {
		return nil
	}
	inspector, err := jobs.NewInspector(d.redis, d.servers.forgetful(), time.Now)
	if err != nil {
		return err
	}
	d.undo = append(d.undo, func() { _ = inspector.Close() })
	add(serverRedis, inspector)
	return nil
}

// findings are what was found about the servers at the last look, the warnings first.
func (d *Daemon) findings() []domain.Finding {
	var found []domain.Finding
	for _, w := range d.watches {
		found = append(found, w.findings()...)
	}
	domain.SortFindings(found)
	return found
}

// examineSchema compares the schema with what this binary knows. A running
// daemon has made sure of that when it started.
func examineSchema(ctx context.Context, db *repository.Database) ([]domain.Finding, error) {
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
