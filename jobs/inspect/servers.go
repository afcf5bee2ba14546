package inspect

import (
	"context"

	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"
)

// readServers reads the settings and the state of each master. Without a cluster, the
// facts are those of the one server. Of a cluster, each fact is the worst that any master
// has, except that the version and the role are those of the first master.
func (i *Inspector) readServers(ctx context.Context, facts *thorough.RedisFacts) error {
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

// worseSettings returns a with the settings of b that endanger a queue more than those of
// a. Policy and MaxMemory are compared as one setting, AppendOnly and Save as another. a
// may be nil.
func worseSettings(a, b *thorough.RedisSettings) *thorough.RedisSettings {
	if a == nil {
		return b
	}
	if evictionDanger(b) > evictionDanger(a) {
		a.Policy, a.MaxMemory = b.Policy, b.MaxMemory
	}
	if persistenceDanger(b) > persistenceDanger(a) {
		a.AppendOnly, a.Save = b.AppendOnly, b.Save
	}
	return a
}

// danger orders settings by how much they endanger a queue.
type danger int

const (
	safe    danger = iota
	hidden         // outboxd may not read the setting
	limited        // a crash loses some tasks, or a maxmemory would make the policy lose tasks
	grave          // all waiting tasks may be lost
)

// evictionDanger judges the eviction of keys: without a maxmemory, no policy has an effect.
func evictionDanger(s *thorough.RedisSettings) danger {
	switch {
	case s.Policy == nil:
		return hidden
	case *s.Policy == "noeviction":
		return safe
	case s.MaxMemory != nil && *s.MaxMemory == "0":
		return limited
	default:
		return grave
	}
}

// persistenceDanger judges what Redis keeps on disk: save points lose fewer tasks in a
// crash than nothing on disk.
func persistenceDanger(s *thorough.RedisSettings) danger {
	switch {
	case s.AppendOnly == nil:
		return hidden
	case *s.AppendOnly != "no":
		return safe
	case s.Save == nil:
		return hidden
	case *s.Save == "":
		return grave
	default:
		return limited
	}
}

// worseCondition returns a with the values of b that endanger a queue more than those of a.
// a may be nil.
func worseCondition(a, b *thorough.RedisCondition) *thorough.RedisCondition {
	if a == nil {
		return b
	}
	a.AppendFailed, a.SnapshotFailed, a.RewriteFailed = a.AppendFailed || b.AppendFailed, a.SnapshotFailed || b.SnapshotFailed, a.RewriteFailed || b.RewriteFailed
	if fullness(b) > fullness(a) {
		a.UsedMemory, a.MaxMemory, a.MachineBytes = b.UsedMemory, b.MaxMemory, b.MachineBytes
	}
	if share(b.Clients, b.MaxClients) > share(a.Clients, a.MaxClients) {
		a.Clients, a.MaxClients = b.Clients, b.MaxClients
	}
	return a
}

// fullness returns how near Redis's memory is to the limit from which there is a finding;
// 1 is that limit. The machine's memory is the limit of a Redis without a maxmemory.
func fullness(c *thorough.RedisCondition) float64 {
	if c.MaxMemory > 0 {
		return share(c.UsedMemory, c.MaxMemory) * 100 / diagnosis.RedisFull
	}
	return share(c.UsedMemory, c.MachineBytes) * 100 / diagnosis.RedisCrowded
}

// share returns which part of a limit is used, or 0 if there is no limit.
func share(used, most int64) float64 {
	if most == 0 {
		return 0
	}
	return float64(used) / float64(most)
}
