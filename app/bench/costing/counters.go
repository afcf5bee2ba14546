package costing

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"outboxd/app/bench/env"
)

// counters are the counters of all parts at one moment. Times are in µs, sizes in
// bytes. A counter that this server or this machine does not have is 0.
type counters struct {
	postgres, redis, own      float64 // processor time
	wal, flushes              float64
	redisMemory, redisNetwork float64
}

func (c counters) since(before counters) counters {
	return counters{
		c.postgres - before.postgres, c.redis - before.redis, c.own - before.own, c.wal - before.wal, c.flushes - before.flushes,
		c.redisMemory - before.redisMemory, c.redisNetwork - before.redisNetwork,
	}
}

// walSQL reads how much PostgreSQL has written to its write-ahead log (WAL), and PostgreSQL's
// version. It also reads the process ID and the database of this connection, by which postgresCPU
// finds the processes of this PostgreSQL.
const walSQL = "SELECT pg_backend_pid(), current_database()::text, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8, current_setting('server_version_num')::int"

// These statements read how often PostgreSQL has waited until its WAL was on the disk:
// flushesSQL from version 18 on, oldFlushesSQL in versions 14 to 17. Earlier versions
// do not count this.
const (
	flushesSQL    = "SELECT coalesce(sum(fsyncs), 0)::float8 FROM pg_stat_io WHERE object = 'wal'"
	oldFlushesSQL = "SELECT wal_sync::float8 FROM pg_stat_wal"
)

func readCounters(ctx context.Context, e *env.Env) (c counters, err error) {
	var pid, version int
	var database string
	if err := e.Admin.QueryRow(ctx, walSQL).Scan(&pid, &database, &c.wal, &version); err != nil {
		return c, fmt.Errorf("read PostgreSQL's counters: %w", err)
	}
	c.postgres = postgresCPU(pid, database)
	switch {
	case version >= 18_00_00:
		err = e.Admin.QueryRow(ctx, flushesSQL).Scan(&c.flushes)
	case version >= 14_00_00:
		err = e.Admin.QueryRow(ctx, oldFlushesSQL).Scan(&c.flushes)
	}
	if err != nil {
		return c, fmt.Errorf("read PostgreSQL's counters: %w", err)
	}
	info, err := e.Redis.Info(ctx, "cpu", "stats", "memory").Result()
	if err != nil {
		return c, fmt.Errorf("read Redis's counters: %w", err)
	}
	fields := infoFields(info)
	c.redis = (fields["used_cpu_user_main_thread"] + fields["used_cpu_sys_main_thread"]) * 1e6
	if c.redis == 0 { // not every Redis reports the time of its main thread
		c.redis = (fields["used_cpu_user"] + fields["used_cpu_sys"]) * 1e6
	}
	c.redisMemory = fields["used_memory"]
	c.redisNetwork = fields["total_net_input_bytes"] + fields["total_net_output_bytes"]
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return c, fmt.Errorf("read the processor time of this process: %w", err)
	}
	c.own = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e3
	return c, nil
}

// Processors are the processor times that outboxd's own process, PostgreSQL and Redis have
// used so far, in µs. PostgreSQL's is 0 if PostgreSQL is on another machine, or if the
// machine has no /proc.
type Processors struct{ Outboxd, PostgreSQL, Redis float64 }

// ReadProcessors reads the processor times.
func ReadProcessors(ctx context.Context, e *env.Env) (Processors, error) {
	c, err := readCounters(ctx, e)
	return Processors{c.own, c.postgres, c.redis}, err
}

// infoFields returns the numbers in an answer of Redis's INFO.
func infoFields(info string) map[string]float64 {
	fields := map[string]float64{}
	for line := range strings.Lines(info) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ":")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			fields[name] = value
		}
	}
	return fields
}

// keptBytes returns the size of the history and the inbox, with their indexes.
func keptBytes(ctx context.Context, e *env.Env) (bytes float64, err error) {
	const sql = `SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::float8
FROM (SELECT relid FROM pg_partition_tree('outbox_sent') UNION ALL SELECT relid FROM pg_partition_tree('inbox')) AS parts`
	if err := e.Admin.QueryRow(ctx, sql).Scan(&bytes); err != nil {
		return 0, fmt.Errorf("measure the history and the inbox: %w", err)
	}
	return bytes, nil
}
