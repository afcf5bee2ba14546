package bench

import (
	"outboxd/app/bench/drains"
	"outboxd/app/bench/effects"
	"outboxd/app/bench/live"
	"outboxd/app/bench/spec"
)

// All returns the benchmarks of this module.
func All() []spec.Bench {
	return []spec.Bench{
		drains.Drain(), drains.Horizon(), drains.Backlog(), drains.Scale(), drains.Overhead(), effects.Effects(),
		live.Latency(), live.Producer(), live.Idle(), drains.Network(), live.Soak(),
	}
}
