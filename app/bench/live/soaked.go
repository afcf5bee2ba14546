package live

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// soaked is one measurement of a soak.
type soaked struct {
	at      time.Time
	metrics map[string]float64
	figures map[string]float64
}

const soakSQL = `
SELECT pg_table_size(relid) / 1048576.0, pg_indexes_size(relid) / 1048576.0, n_dead_tup::float8
FROM pg_stat_user_tables WHERE relid = 'outbox'::regclass`

func readSoak(ctx context.Context, e *env.Env, process *env.Process) (soaked, error) {
	now := soaked{at: time.Now()}
	var table, indexes, dead float64
	if err := e.Admin.QueryRow(ctx, soakSQL).Scan(&table, &indexes, &dead); err != nil {
		return now, fmt.Errorf("measure the outbox: %w", err)
	}
	var err error
	if now.metrics, err = process.Metrics(ctx); err != nil {
		return now, err
	}
	now.figures = map[string]float64{
		"outbox_mib": table, "indexes_mib": indexes, "dead_rows": dead,
		"resident_mib": now.metrics["process_resident_memory_bytes"] / (1 << 20),
		"goroutines":   now.metrics["go_goroutines"],
	}
	return now, nil
}

func (s *soaked) arm(name string) result.Arm { return result.Arm{Name: name, Figures: s.figures} }

// lag returns quantiles of the relay's lag, for the events that were relayed
// between two measurements.
func (s *soaked) lag(name string, end *soaked) result.Arm {
	const histogram = "outboxd_relay_lag_seconds"
	var buckets []bucket
	for name, value := range end.metrics {
		text, found := strings.CutPrefix(name, histogram+`_bucket{le="`)
		if le, err := strconv.ParseFloat(strings.TrimSuffix(text, `"}`), 64); found && err == nil {
			buckets = append(buckets, bucket{le, value - s.metrics[name]})
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.le, b.le) })
	events := end.metrics[histogram+"_count"] - s.metrics[histogram+"_count"]
	return result.Arm{Name: name, EventsPerSecond: events / end.at.Sub(s.at).Seconds(), Figures: map[string]float64{
		"events": events, "lag_p50_ms": quantile(buckets, .5) * 1000, "lag_p99_ms": quantile(buckets, .99) * 1000,
	}}
}
