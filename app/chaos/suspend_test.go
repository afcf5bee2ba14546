package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// relayApplication names the connections of a relay.
func relayApplication(name string) string { return strings.ReplaceAll(name, " ", "-") }

// The transactions of a relay that have written and do nothing now. In a relay that is
// stopped, such a transaction is a batch that it has claimed. The session of the leader is
// in a transaction too, but writes nothing.
const openBatchesSQL = `
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1 AND state LIKE 'idle in transaction%' AND backend_xid IS NOT NULL`

const (
	suspendAttempts = 100
	// What a stopped process has sent arrives within this time.
	settling = 20 * time.Millisecond
)

// suspend stops a relay in the middle of a batch. When the relay goes on, PostgreSQL has
// ended its transaction. suspend hits nothing if it finds no open batch in
// suspendAttempts attempts.
func (i *injector) suspend(ctx context.Context, target uint64) (string, func() string, error) {
	relays := slices.DeleteFunc(wanted(i.fleet.relays), func(s *slot) bool { return i.paused[s] > 0 })
	if len(relays) == 0 || i.suspended != nil || i.down[i.servers.Postgres] {
		return "", nil, nil
	}
	s := relays[target%uint64(len(relays))]
	for range suspendAttempts {
		resume := s.signal(syscall.SIGSTOP)
		if resume == nil {
			return "", nil, nil
		}
		if err := wait(ctx, time.Now().Add(settling)); err != nil {
			resume()
			return "", nil, err
		}
		open, err := i.openBatches(ctx, s)
		if err != nil {
			resume()
			return "", nil, err
		}
		if open > 0 {
			i.suspended = s
			return s.name, func() string { resume(); i.suspended = nil; return s.name }, nil
		}
		resume()
		if err := wait(ctx, time.Now().Add(settling)); err != nil {
			return "", nil, err
		}
	}
	return "", nil, nil
}

// openBatches returns how many transactions of a stopped relay PostgreSQL keeps open.
func (i *injector) openBatches(ctx context.Context, s *slot) (n int, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		return i.admin.QueryRow(ctx, openBatchesSQL, relayApplication(s.name)).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("look for a relay's batches: %w", err)
	}
	return n, nil
}
