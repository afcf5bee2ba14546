package postgrestest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/child"
	"outboxd/app/servertest"
)

// await returns when a process lets a client in at the given address. If the process ends before that, or takes too long,
// await fails the test with the process's log. The parameter what is the name of the program.
func await(t testing.TB, what string, process *child.Process, address, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-retry.C:
			continue
		case <-process.Done():
		case <-ctx.Done():
		}
		said, _ := os.ReadFile(log)
		t.Fatalf("start %s: %v; it says:\n%s", what, err, said)
	}
}
