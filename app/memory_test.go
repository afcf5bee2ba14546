package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest/redistest"
)

// A relay has a batch of each of its two pollers in memory, 8 MiB each. About as much again is
// garbage, because Go collects when the heap has doubled, and each poller has an event on its way in
// and a piece on its way out: about 50 MiB. The memory limit lets Go collect in time on a busy machine too. The bound
// has no room for all events at once.
func TestLargeEventsTakeLittleMemory(t *testing.T) {
	t.Parallel()
	const events, payload, bound = 200, 1 << 20, 150 << 20
	databaseURL := schematest.Database(t)
	db := schematest.Connect(t, databaseURL).SQL()
	_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (event_type, payload)
		SELECT 'test:large', convert_to(repeat('x', $2::int), 'UTF8') FROM generate_series(1, $1::int)`, events, payload)
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	tasks := newTaskDrain(t, server.URL())

	relay := launchWith(t, []string{"GOMEMLIMIT=100MiB"}, "--roles=relay", "--database-url="+databaseURL, "--redis-url="+server.URL(), "--data-dir="+t.TempDir())
	relay.awaitReady()
	taken := 0
	eventually(t, "every event is in Redis", func() bool {
		taken += tasks.take()
		return taken == events
	})
	// This figure never falls, so it is the peak.
	heap := int(scrape(t, relay.monitor, "go_memstats_heap_sys_bytes"))
	t.Logf("at most: heap %d MiB, resident %d MiB", heap>>20, peakResident(t, relay.cmd.Process.Pid)>>20)
	if heap > bound {
		t.Errorf("%d MiB of events took a heap of %d MiB, want at most %d MiB", events*payload>>20, heap>>20, bound>>20)
	}
	relay.stop()
}

// taskDrain takes tasks out of Redis, so that they do not pile up there.
type taskDrain struct {
	t      *testing.T
	client *redis.Client
}

func newTaskDrain(t *testing.T, url string) *taskDrain {
	t.Helper()
	opt, err := asynq.ParseRedisURI(url)
	if err != nil {
		t.Fatal(err)
	}
	client := opt.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	// The tasks are deleted at once, so they need not reach a disk.
	if err := client.ConfigSet(t.Context(), "appendonly", "no").Err(); err != nil {
		t.Fatal(err)
	}
	return &taskDrain{t, client}
}

// take deletes up to 1,000 pending tasks, and returns how many.
func (d *taskDrain) take() int {
	d.t.Helper()
	const queue = "asynq:{default}:"
	ids, err := d.client.RPopCount(d.t.Context(), queue+"pending", 1000).Result()
	if errors.Is(err, redis.Nil) {
		return 0
	}
	if err != nil {
		d.t.Fatal(err)
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = queue + "t:" + id
	}
	if err := d.client.Unlink(d.t.Context(), keys...).Err(); err != nil {
		d.t.Fatal(err)
	}
	return len(ids)
}

// scrape reads a metric that has no label.
func scrape(t *testing.T, monitor, name string) float64 {
	t.Helper()
	_, page := get(t, monitor+"/metrics")
	for line := range strings.Lines(page) {
		if text, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// peakResident returns the most memory that a process ever had, in bytes; 0 where the system does not say. The
// value is no measure under the race detector, which needs as much memory again for itself.
func peakResident(t *testing.T, pid int) int {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var kib int
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
