package daemon

import (
	"log/slog"
	"math"
	"runtime"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"outboxd/config/value"
)

// The parts of the container's memory that this process may use before Go
// collects its garbage more often: all but a reserve for what Go does not count,
// and half of it if PostgreSQL and Redis run in the same container.
const (
	memoryShare      = 0.9
	memoryBesideThem = 0.5
)

// keepWithinLimits makes Go follow the limits of the container, and says once
// what they are. It acts on the whole process. Go itself follows the limit of
// processors. A GOMEMLIMIT or GOMAXPROCS in the environment wins.
func keepWithinLimits(embedded bool, log *slog.Logger) {
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
	log.Info("limits of this process", "gomaxprocs", runtime.GOMAXPROCS(0), "cpus", runtime.NumCPU(), "gomemlimit", memory)
}
