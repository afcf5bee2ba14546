package daemon

import (
	"log/slog"
	"math"
	"runtime"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"outboxd/config"
	"outboxd/config/value"
)

// The shares of the container's memory that become Go's memory limit, above which
// Go collects garbage more often. The rest of the container's memory is for memory
// that Go does not count, and for PostgreSQL and Redis if they run in the same
// container.
const (
	memoryShare      = 0.9
	memoryBesideThem = 0.5
)

// keepWithinLimits sets Go's memory limit from the container's limit, for the whole
// process, and logs the limits once, with how many tasks and connections this process has
// at most. Go itself follows the container's limit of processors. GOMEMLIMIT and
// GOMAXPROCS in the environment take precedence.
func keepWithinLimits(embedded bool, sizes config.Sizes, log *slog.Logger) {
	part := memoryShare
	if embedded {
		part = memoryBesideThem
	}
	limit, err := memlimit.Set(memlimit.WithRatio(part), memlimit.WithProvider(memlimit.FromCgroup))
	if err != nil {
		log.Warn("the container's memory limit cannot be read, so Go does not follow it; set GOMEMLIMIT", "error", err)
	}
	memory := "none"
	if limit != math.MaxInt64 {
		memory = value.Size(limit >> 20 << 20).String()
	}
	attrs := []any{"gomaxprocs", runtime.GOMAXPROCS(0), "cpus", runtime.NumCPU(), "gomemlimit", memory, "database_connections", sizes.Pool}
	if sizes.Tasks > 0 {
		attrs = append(attrs, "tasks_at_once", sizes.Tasks, "connections_for_tasks", sizes.TaskConns, "connections_for_failures", sizes.FailureConns, "connections_for_deliveries", sizes.DeliveryConns)
	}
	log.Info("limits of this process", attrs...)
}
