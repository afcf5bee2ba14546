package plan

import (
	"cmp"
	"math"
	"slices"
)

// Limit is a part of the installation, and the rate at which it is full.
type Limit struct {
	Name            string  `json:"name"`
	EventsPerSecond float64 `json:"events_per_second"`
	Lift            string  `json:"lift"` // what to do about the limit
	Unit            string  `json:"unit"` // what to have more of, such as databases
}

const (
	million  = 1e6
	gigabyte = 1e9
)

// passTrips is how many round trips a poller waits for in a pass: the claim, the
// enqueueing and the commit.
const passTrips = 3

// Limits returns the rate at which each part is full, the lowest rate first. All limits are those
// of one relay process, one worker process, one database and one Redis.
func Limits(c Costs, m *Machines) []Limit {
	processors := float64(m.Cores) * million * m.Share
	limits := []Limit{
		{
			"one relay process", relayRate(c, m),
			"more relay processes on the same database; for one process --relay-concurrency and --relay-batch-size", "relay processes",
		},
		{
			"one worker process", processors / c[WorkerProcess],
			"more worker processes, and handlers that take events in batches", "worker processes",
		},
		{
			"PostgreSQL's processors", processors / c.Postgres(),
			"a database for each service or shard, each with relays of its own; handlers in batches; several events in a transaction", "databases",
		},
		{
			"PostgreSQL's log on disk", m.DiskMB * million * m.Share / c[WAL],
			"a database for each service or shard; smaller payloads; --relay-history=0", "databases",
		},
		{
			"flushes of PostgreSQL's disk", m.DiskFlushes * m.Share / c[Flushes],
			"several events in a transaction; handlers in batches; more commits at the same time, which share a flush; then a database for each service or shard", "databases",
		},
		{
			"PostgreSQL's network", m.NetworkMB * million * m.Share / c[NetworkPostgres],
			"smaller payloads; a database for each service or shard", "databases",
		},
		{
			"Redis's main thread", million * m.Share / c.Redis(),
			"Redis Cluster, with the events spread over several queues", "masters",
		},
		{
			"Redis's memory", m.RedisMemoryGB * gigabyte * m.Share / (c[Waiting] * m.Away.Seconds()),
			"--relay-max-queue, with which events wait in PostgreSQL instead; Redis Cluster, with the events spread over several queues", "masters",
		},
		{
			"Redis's network", m.NetworkMB * million * m.Share / c[NetworkRedis],
			"smaller payloads; Redis Cluster, with the events spread over several queues", "masters",
		},
	}
	slices.SortStableFunc(limits, func(a, b Limit) int { return cmp.Compare(a.EventsPerSecond, b.EventsPerSecond) })
	return limits
}

// relayRate is how many events one relay process relays. Each poller claims,
// enqueues and commits one batch after the other, and waits for PostgreSQL and
// Redis meanwhile. The process also cannot use more than the processors of its machine.
func relayRate(c Costs, m *Machines) float64 {
	inTurn := c[RelayPostgres] + c[RelayProcess] + c[RelayRedis] + passTrips*float64(m.RTT.Microseconds())/float64(m.Batch)
	return m.Share * million * min(float64(m.Pollers)/inTurn, float64(m.Cores)/c[RelayProcess])
}

// needed returns how many units of a part the rate needs.
func needed(rate float64, l Limit) int { return max(1, int(math.Ceil(rate/l.EventsPerSecond))) }
