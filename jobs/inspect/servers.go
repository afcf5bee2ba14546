package inspect

import (
	"context"

	"outboxd/domain/diagnosis"
)

// readServers reads the settings and the state of each master. Without a cluster, the
// facts are those of the one server. Of a cluster, each fact is the worst that any master
// has.
func (i *Inspector) readServers(ctx context.Context, facts *diagnosis.RedisFacts) error {
	masters, err := i.handle.Masters(ctx)
	if err != nil {
		return err
	}
	for _, master := range masters {
		settings, err := readSettings(ctx, master)
		if err != nil {
			return err
		}
		condition, err := readCondition(ctx, master)
		if err != nil {
			return err
		}
		facts.Settings, facts.Condition = worseSettings(facts.Settings, settings), worseCondition(facts.Condition, condition)
	}
	return nil
}

// worseSettings returns a, in which each more dangerous setting of b replaces that of a.
// a may be nil.
func worseSettings(a, b *diagnosis.RedisSettings) *diagnosis.RedisSettings {
	if a == nil {
		return b
	}
	if b.Policy != nil && *b.Policy != "noeviction" {
		a.Policy, a.MaxMemory = b.Policy, b.MaxMemory
	}
	if b.AppendOnly != nil && *b.AppendOnly == "no" {
		a.AppendOnly, a.Save = b.AppendOnly, b.Save
	}
	return a
}

// worseCondition returns a, in which each more dangerous value of b replaces that of a. a
// may be nil.
func worseCondition(a, b *diagnosis.RedisCondition) *diagnosis.RedisCondition {
	if a == nil {
		return b
	}
	a.AppendFailed, a.SnapshotFailed, a.RewriteFailed = a.AppendFailed || b.AppendFailed, a.SnapshotFailed || b.SnapshotFailed, a.RewriteFailed || b.RewriteFailed
	if share(b.UsedMemory, b.MaxMemory) > share(a.UsedMemory, a.MaxMemory) {
		a.UsedMemory, a.MaxMemory, a.MachineBytes = b.UsedMemory, b.MaxMemory, b.MachineBytes
	}
	if share(b.Clients, b.MaxClients) > share(a.Clients, a.MaxClients) {
		a.Clients, a.MaxClients = b.Clients, b.MaxClients
	}
	return a
}

// share returns which part of the limit most is used, or 0 if there is no limit.
func share(used, most int64) float64 {
	if most == 0 {
		return 0
	}
	return float64(used) / float64(most)
}
