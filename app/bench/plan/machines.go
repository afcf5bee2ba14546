package plan

import (
	"errors"
	"time"
)

// Machines is what the installation has: one machine for PostgreSQL, one for
// Redis, and one for each relay and each worker process.
type Machines struct {
	Cores         int           `json:"cores"` // of each machine
	Pollers       int           `json:"pollers"`
	Batch         int           `json:"batch"`
	RTT           time.Duration `json:"rtt_ns"`       // from a relay to PostgreSQL and to Redis
	DiskMB        float64       `json:"disk_mb"`      // that PostgreSQL's disk writes in a second
	DiskFlushes   float64       `json:"disk_flushes"` // that PostgreSQL's disk does in a second
	NetworkMB     float64       `json:"network_mb"`   // that a machine's network carries in a second
	RedisMemoryGB float64       `json:"redis_memory_gb"`
	Away          time.Duration `json:"away_ns"` // how long consumers may be away, so that tasks wait in Redis
	Share         float64       `json:"share"`   // of each capacity that may be used: above 0, at most 1
}

// Check returns an error if a plan cannot be computed from the question.
func (q *Question) Check() error {
	m := &q.Machines
	switch {
	case !(q.Rate > 0) || q.Payload < 2:
		return errors.New("--rate has to be above 0, and --payload at least 2")
	case m.Cores < 1 || m.Pollers < 1 || m.Batch < 1:
		return errors.New("--cores, the pollers and the batch have to be at least 1")
	case m.RTT < 0:
		return errors.New("--rtt has to be 0 at least")
	case !(m.DiskMB > 0) || !(m.DiskFlushes > 0) || !(m.NetworkMB > 0) || !(m.RedisMemoryGB > 0) || m.Away <= 0:
		return errors.New("--disk-mb, --disk-flushes, --network-mb, --redis-memory-gb and --away have to be above 0")
	case !(m.Share > 0) || m.Share > 1:
		return errors.New("--share has to be above 0 and at most 1")
	}
	return nil
}
