package inspect

import (
	"testing"

	"outboxd/domain/diagnosis/thorough"
)

// TestTheWorstMasterIsReported joins the facts of two masters of a cluster in both orders.
func TestTheWorstMasterIsReported(t *testing.T) {
	t.Parallel()
	settings := func(appendOnly, save, policy, limit string) thorough.RedisFacts {
		s := &thorough.RedisSettings{}
		for of, text := range map[**string]string{&s.AppendOnly: appendOnly, &s.Save: save, &s.Policy: policy, &s.MaxMemory: limit} {
			if text != "hidden" {
				*of = &text
			}
		}
		return thorough.RedisFacts{Settings: s}
	}
	memory := func(used, limit, machine int64) thorough.RedisFacts {
		return thorough.RedisFacts{Condition: &thorough.RedisCondition{UsedMemory: used, MaxMemory: limit, MachineBytes: machine}}
	}
	const bytes = 1 << 20
	good := func() thorough.RedisFacts { return settings("yes", "", "noeviction", "0") }
	for name, c := range map[string]struct {
		worst, other func() thorough.RedisFacts
		want         string
	}{
		"one keeps nothing, one keeps snapshots": {
			func() thorough.RedisFacts { return settings("no", "", "noeviction", "0") },
			func() thorough.RedisFacts { return settings("no", "900 1", "noeviction", "0") }, "redis-keeps-nothing",
		},
		"one keeps snapshots": {func() thorough.RedisFacts { return settings("no", "900 1", "noeviction", "0") }, good, "redis-snapshots-only"},
		"one evicts, one would": {
			func() thorough.RedisFacts { return settings("yes", "", "allkeys-lru", "1000") },
			func() thorough.RedisFacts { return settings("yes", "", "allkeys-lru", "0") }, "redis-evicts",
		},
		"one hides its settings": {func() thorough.RedisFacts { return settings("hidden", "hidden", "hidden", "hidden") }, good, "redis-settings-hidden"},
		"one keeps nothing, one hides that": {
			func() thorough.RedisFacts { return settings("no", "", "noeviction", "0") },
			func() thorough.RedisFacts { return settings("hidden", "hidden", "noeviction", "0") }, "redis-keeps-nothing",
		},
		"one crowds its machine, without a maxmemory": {
			func() thorough.RedisFacts { return memory(90*bytes, 0, 100*bytes) },
			func() thorough.RedisFacts { return memory(10*bytes, 0, 100*bytes) }, "redis-memory",
		},
		"one crowds its machine, one has a maxmemory": {
			func() thorough.RedisFacts { return memory(65*bytes, 0, 100*bytes) },
			func() thorough.RedisFacts { return memory(70*bytes, 100*bytes, 100*bytes) }, "redis-memory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, masters := range [][2]thorough.RedisFacts{{c.worst(), c.other()}, {c.other(), c.worst()}} {
				a, b := masters[0], masters[1]
				if b.Settings != nil {
					a.Settings = worseSettings(a.Settings, b.Settings)
				}
				if b.Condition != nil {
					a.Condition = worseCondition(a.Condition, b.Condition)
				}
				if found := a.Findings(); len(found) != 1 || found[0].Code != c.want {
					t.Errorf("found %+v, want %s", found, c.want)
				}
			}
		})
	}
}
