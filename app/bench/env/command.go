package env

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Command returns outboxd as a separate process, on the benchmark's schema and Redis
// database. The process gets the relay's settings that matter for a benchmark, and after
// them args. When ctx ends, the process is asked to drain. If it still runs 30 seconds
// later, it is killed. The process gets the servers' addresses through environment
// variables, which other users of the machine cannot read.
func (e *Env) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	command := e.executable
	if len(command) == 0 {
		path, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find outboxd's own binary: %w", err)
		}
		command = []string{path}
	}
	c := e.Config.Relay
	command = append(append(slices.Clip(command),
		"--migrate=off", "--log-level="+e.Config.Log.Level, "--log-format=json",
		"--database-exec-mode="+e.Config.Database.ExecMode,
		"--relay-concurrency="+strconv.Itoa(c.Concurrency), "--relay-batch-size="+strconv.Itoa(c.BatchSize),
		"--relay-poll-interval="+c.PollInterval.String(), "--relay-history="+c.History.String(),
		"--relay-inbox-retention="+c.InboxRetention.String(),
		"--relay-listen="+c.Listen, "--relay-poll-min="+c.PollMin.String(), "--relay-poll-without-listen="+c.PollWithoutListen.String(),
	), args...)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), "OUTBOXD_DATABASE_URL="+e.DatabaseURL, "OUTBOXD_DATABASE_SCHEMA="+e.schema, "OUTBOXD_REDIS_URL="+e.RedisURL, "OUTBOXD_RELAY_LISTEN_URL="+string(c.ListenURL))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd, nil
}
