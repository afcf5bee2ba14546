package live

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"outboxd/app/bench/distance"
	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// costs are the costs of a process so far.
type costs struct {
	at           time.Time
	transactions int            // on its own connections
	statements   map[string]int // nil: they could not be read
	database     int64          // all transactions in the database, as PostgreSQL counts them
	redis        map[string]int // calls by command, of all clients
	cpuSeconds   float64
	residentMiB  float64
	goroutines   float64
}

func readCosts(ctx context.Context, e *env.Env, process *env.Process, said *distance.Statements) (costs, error) {
	c := costs{at: time.Now()}
	if said != nil {
		c.transactions, c.statements = said.Snapshot()
	}
	const sql = `SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()`
	if err := e.Admin.QueryRow(ctx, sql).Scan(&c.database); err != nil {
		return c, fmt.Errorf("read PostgreSQL's counters: %w", err)
	}
	info, err := e.Redis.Info(ctx, "commandstats").Result()
	if err != nil {
		return c, fmt.Errorf("read Redis's counters: %w", err)
	}
	c.redis = commandCalls(info)
	metrics, err := process.Metrics(ctx)
	if err != nil {
		return c, err
	}
	c.cpuSeconds = metrics["process_cpu_seconds_total"]
	c.residentMiB = metrics["process_resident_memory_bytes"] / (1 << 20)
	c.goroutines = metrics["go_goroutines"]
	return c, nil
}

// commandCalls reads the number of calls of each command from Redis's INFO
// commandstats. commandCalls leaves out INFO itself.
func commandCalls(info string) map[string]int {
	calls := map[string]int{}
	for line := range strings.Lines(info) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		number, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(number); found && err == nil && name != "info" {
			calls[name] = n
		}
	}
	return calls
}

// addCosts fills in the report from the counts before and after.
func addCosts(r *result.Report, before, after costs) {
	seconds := after.at.Sub(before.at).Seconds()
	commands := 0
	for name, n := range after.redis {
		commands += n - before.redis[name]
	}
	perSecond := float64(after.transactions-before.transactions) / seconds
	database := float64(after.database-before.database) / seconds
	if after.statements == nil {
		perSecond = database
		r.Notes = append(r.Notes, "The connections are encrypted: transactions_per_second is PostgreSQL's count for the whole database, the benchmark's own few included.")
	}
	r.TransactionsPerSecond = &perSecond
	r.Arms = append(r.Arms, result.Arm{Name: "process", Figures: map[string]float64{
		"seconds":                          seconds,
		"transactions_per_second":          perSecond,
		"database_transactions_per_second": database,
		"redis_commands_per_second":        float64(commands) / seconds,
		"cpu_ms_per_second":                (after.cpuSeconds - before.cpuSeconds) * 1000 / seconds,
		"resident_mib":                     after.residentMiB,
		"goroutines":                       after.goroutines,
	}})
	r.Arms = append(r.Arms, breakdown("sql: ", before.statements, after.statements, seconds)...)
	r.Arms = append(r.Arms, breakdown("redis: ", before.redis, after.redis, seconds)...)
}

// breakdown returns one arm for each counted statement or command, the most
// frequent first.
func breakdown(prefix string, before, after map[string]int, seconds float64) []result.Arm {
	difference := map[string]int{}
	for name, n := range after {
		if n > before[name] {
			difference[name] = n - before[name]
		}
	}
	names := slices.SortedFunc(maps.Keys(difference), func(a, b string) int {
		return cmp.Or(cmp.Compare(difference[b], difference[a]), cmp.Compare(a, b))
	})
	arms := make([]result.Arm, 0, len(names))
	for _, name := range names {
		arms = append(arms, result.Arm{Name: prefix + name, Figures: map[string]float64{"per_second": float64(difference[name]) / seconds}})
	}
	return arms
}
