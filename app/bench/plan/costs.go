// Package plan computes how far an installation of outboxd can grow: what events cost at a
// rate, and which part of the installation is full first. Package plan computes from costs
// that package costing measured, and measures nothing itself.
package plan

import (
	"errors"
	"fmt"
	"math"
)

// Cost names what one event costs.
type Cost string

// The costs of one event, from the producer's INSERT until it is handled.
const (
	ProducePostgres Cost = "produce_postgres_us" // µs of PostgreSQL's processors for the INSERT and the commit
	RelayPostgres   Cost = "relay_postgres_us"   // µs of PostgreSQL's processors for the relay
	HandlePostgres  Cost = "handle_postgres_us"  // µs of PostgreSQL's processors for the inbox
	RelayProcess    Cost = "relay_process_us"    // µs of the relay's processors
	WorkerProcess   Cost = "worker_process_us"   // µs of the worker's processors
	RelayRedis      Cost = "relay_redis_us"      // µs of Redis's main thread for the task's enqueueing
	HandleRedis     Cost = "handle_redis_us"     // µs of Redis's main thread for taking and ending the task
	WAL             Cost = "wal_bytes"           // bytes that PostgreSQL writes to its write-ahead log
	Flushes         Cost = "wal_flushes"         // times that PostgreSQL waits for its disk; commits at the same time share one
	Rows            Cost = "rows_written"        // rows that are inserted or deleted
	Kept            Cost = "kept_bytes"          // bytes of the rows that stay in the history and the inbox
	Waiting         Cost = "redis_memory_bytes"  // bytes of Redis's memory while the task waits
	NetworkPostgres Cost = "postgres_network_bytes"
	NetworkRedis    Cost = "redis_network_bytes" // both directions together, as for PostgreSQL
)

// All lists the costs in the order of the report.
func All() []Cost {
	return []Cost{
		ProducePostgres, RelayPostgres, HandlePostgres, RelayProcess, WorkerProcess, RelayRedis, HandleRedis,
		WAL, Flushes, Rows, Kept, Waiting, NetworkPostgres, NetworkRedis,
	}
}

// Costs are the costs of one event.
type Costs map[Cost]float64

// Line is a cost as a function of the size of the payload.
type Line struct {
	Base    float64 `json:"base"`     // without any payload
	PerByte float64 `json:"per_byte"` // of payload
}

// Lines has a line for each cost.
type Lines map[Cost]Line

// Fit returns the lines through the costs at two payloads, in bytes. The smaller
// payload comes first. A cost that was not higher at the larger payload counts as
// independent of the payload: the difference is noise, and the mean is taken.
func Fit(small int, atSmall Costs, large int, atLarge Costs) Lines {
	lines := Lines{}
	for _, cost := range All() {
		low, high := atSmall[cost], atLarge[cost]
		if high <= low {
			lines[cost] = Line{Base: (low + high) / 2}
			continue
		}
		perByte := (high - low) / float64(large-small)
		lines[cost] = Line{Base: max(0, low-perByte*float64(small)), PerByte: perByte}
	}
	return lines
}

// At returns the costs of an event whose payload has that many bytes.
func (l Lines) At(payload int) Costs {
	costs := Costs{}
	for cost, line := range l {
		costs[cost] = line.Base + line.PerByte*float64(payload)
	}
	return costs
}

// Check returns an error unless l has a positive number for every cost.
func (l Lines) Check() error {
	for _, cost := range All() {
		line, found := l[cost]
		if !found {
			return fmt.Errorf("there is no cost %s", cost)
		}
		if line.Base < 0 || line.PerByte < 0 || math.IsNaN(line.Base+line.PerByte) || line.Base+line.PerByte == 0 {
			return fmt.Errorf("the cost %s is %v and %v a byte, which is not above 0", cost, line.Base, line.PerByte)
		}
	}
	return nil
}

// Postgres returns the µs of PostgreSQL's processors for one event.
func (c Costs) Postgres() float64 { return c[ProducePostgres] + c[RelayPostgres] + c[HandlePostgres] }

// Redis returns the µs of Redis's main thread for one event.
func (c Costs) Redis() float64 { return c[RelayRedis] + c[HandleRedis] }

// Measured are costs, and where they come from.
type Measured struct {
	Source      string            `json:"source"` // says for people where they were measured
	Environment map[string]string `json:"environment,omitempty"`
	Lines       Lines             `json:"lines"`
}

var errNoCosts = errors.New("it has no costs: give the output of \"bench plan -o json\"")
