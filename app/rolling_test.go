package app_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

var rollingRounds = flag.Int("rolling", 0, "how often TestRollingReplacement replaces all processes, of two programs that it builds; 0: once, all of them this test's own program")

const (
	rollingKeys = 4
	// rollingAhead is how many events the producers may be ahead of the deliveries. A slow machine delivers fewer events
	// a second than they would emit.
	rollingAhead = 200
	rollingFile  = "09999_rolling.sql"
)

// rollingMigration is the migration that only the later release has. Each table through which an event passes gets
// another column, in a transaction of its own.
const rollingMigration = `-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE outbox ADD COLUMN IF NOT EXISTS rolled text;
ALTER TABLE outbox_held ADD COLUMN IF NOT EXISTS rolled text;
ALTER TABLE outbox_sent ADD COLUMN IF NOT EXISTS rolled text;
ALTER TABLE inbox ADD COLUMN IF NOT EXISTS rolled integer NOT NULL DEFAULT 1;
-- +goose Down
`

// release is outboxd in one version.
type release struct {
	t       *testing.T
	version string
	path    string // of the program; "": this test's own program, which has no more migrations than the source
}

// releases returns two versions, of which the later one has another migration.
func releases(t *testing.T) (earlier, later release) {
	t.Helper()
	earlier, later = release{t, "1.0.0", ""}, release{t, "1.1.0", ""}
	if *rollingRounds == 0 {
		return earlier, later
	}
	folder := t.TempDir()
	place, err := filepath.Abs(filepath.Join("..", "migrations", rollingFile))
	if err != nil {
		t.Fatal(err)
	}
	file, overlay := filepath.Join(folder, rollingFile), filepath.Join(folder, "overlay.json")
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{place: file}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{file: rollingMigration, overlay: string(replaced)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	earlier.path = buildOutboxd(t, "-ldflags=-X main.version="+earlier.version)
	later.path = buildOutboxd(t, "-ldflags=-X main.version="+later.version, "-overlay="+overlay)
	return earlier, later
}

// prepare returns a process of the release that has not started yet.
func (r release) prepare(args ...string) *process {
	r.t.Helper()
	p := prepare(r.t, []string{versionVariable + "=" + r.version, "ROLLING_SECRET=" + fanOutSecret}, args...)
	if r.path != "" {
		p.cmd.Path, p.cmd.Args[0] = r.path, r.path
	}
	return p
}

// start starts a process of the release and waits until it is ready.
func (r release) start(args ...string) *process {
	r.t.Helper()
	p := r.prepare(args...)
	p.cmd.Stderr = p.log
	p.run()
	p.awaitReady()
	return p
}

// run runs a command of the release, which must end with 0, and returns what it wrote.
func (r release) run(args ...string) string {
	r.t.Helper()
	p := r.prepare()
	cmd := command(r.t, args...)
	cmd.Path, cmd.Args[0], cmd.Env = p.cmd.Path, p.cmd.Args[0], p.cmd.Env
	stdin, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	said, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s of %s: %v: %s", args[0], r.version, err, said)
	}
	return string(said)
}

// migrate applies the later release's migration.
func (r release) migrate(databaseURL string) {
	r.t.Helper()
	if r.path != "" {
		r.run("migrate", "up", "--database-url="+databaseURL)
		return
	}
	set := schematest.Later(r.t, map[string]string{rollingFile: rollingMigration})
	if n, err := set.Up(r.t.Context(), schematest.Connect(r.t, databaseURL).SQL(), servertest.Logger(r.t)); err != nil || n != 1 {
		r.t.Fatalf("%d migrations, %v", n, err)
	}
}

// keyed are producers that emit events, one producer for each ordering key, until they are stopped.
type keyed struct {
	t         *testing.T
	delivered func() int
	stopping  context.CancelFunc
	producing sync.WaitGroup

	mu  sync.Mutex
	ids [rollingKeys][]string // by key, in the order of their commits
}

// produceKeyed starts the producers. They wait while they are rollingAhead of the deliveries.
func produceKeyed(t *testing.T, databaseURL string, delivered func() int) *keyed {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	k := &keyed{t: t, stopping: stop, delivered: delivered}
	var conns [rollingKeys]*pgx.Conn
	for key := range conns {
		conn, err := pgx.Connect(t.Context(), databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		conns[key] = conn
	}
	// The producers end before their connections are closed.
	t.Cleanup(func() { k.stop() })
	for key, conn := range conns {
		k.producing.Go(func() { k.produce(ctx, conn, key) })
	}
	return k
}

func (k *keyed) produce(ctx context.Context, conn *pgx.Conn, key int) {
	pace := time.NewTicker(40 * time.Millisecond)
	defer pace.Stop()
	for ; ctx.Err() == nil; k.pause(ctx, pace.C) {
		if k.emitted() >= k.delivered()+rollingAhead {
			continue
		}
		var id string
		if err := conn.QueryRow(context.WithoutCancel(ctx), "SELECT outboxd.emit('test:rolling', '{}', ordering_key => $1)::text", fmt.Sprint(key)).Scan(&id); err != nil {
			k.t.Errorf("emit an event: %v", err)
			return
		}
		k.mu.Lock()
		k.ids[key] = append(k.ids[key], id)
		k.mu.Unlock()
	}
}

func (k *keyed) pause(ctx context.Context, pace <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-pace:
	}
}

func (k *keyed) emitted() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ids := range k.ids {
		n += len(ids)
	}
	return n
}

// stop ends the producers and returns the IDs of the events of each key, in their order.
func (k *keyed) stop() [rollingKeys][]string {
	k.stopping()
	k.producing.Wait()
	return k.ids
}

// TestRollingReplacement replaces processes one by one by those of a later release with another migration, and one
// of them by the earlier release again, while producers emit. Nothing is lost, delivered twice or delivered out of
// order.
func TestRollingReplacement(t *testing.T) {
	t.Parallel()
	earlier, later := releases(t)
	databaseURL, redisURL, receiver := schematest.Database(t), servertest.Redis(t), count(t, "")
	file := writeFile(t, "subscriptions.yaml", fmt.Sprintf(
		"- {name: rolling, types: ['test:*'], url: '%s', secret: 'env:ROLLING_SECRET', ordering: key, instead_of_queue: true}\n", receiver.proxy.URL))
	earlier.run("subscriptions", "apply", "-f", file, "--yes", "--database-url="+databaseURL)
	servers := []string{"--database-url=" + databaseURL, "--redis-url=" + redisURL}
	args := append([]string{"--roles=relay,worker", "--deliver-allow=127.0.0.0/8", "--deliver-check-interval=100ms", "--worker-queues=unused=1"}, servers...)
	processes, few := 2, 5
	if *rollingRounds > 0 {
		processes, few = 3, 50
	}
	running := make([]*process, processes)
	for i := range running {
		running[i] = earlier.start(args...)
	}
	delivered := func() int {
		receiver.mu.Lock()
		defer receiver.mu.Unlock()
		return len(receiver.first)
	}
	awaitProgress := func() {
		t.Helper()
		before := delivered()
		eventually(t, "deliveries go on", func() bool { return delivered() >= before+few })
	}
	books, producers, begun := openLedger(t, databaseURL), produceKeyed(t, databaseURL, delivered), time.Now()
	awaitProgress()
	later.migrate(databaseURL)
	t.Logf("%v: migrated", time.Since(begun).Round(time.Millisecond))
	awaitProgress()
	for round := range max(1, *rollingRounds) {
		to := []release{later, earlier}[round%2]
		for i := range running {
			next := to.start(args...)
			if i == 0 {
				eventually(t, "two versions relay at once", func() bool {
					var versions int
					books.scan(&versions, "SELECT count(DISTINCT version) FROM outbox_relays")
					return versions == 2
				})
			}
			awaitProgress()
			running[i].stop()
			running[i] = next
			awaitProgress()
		}
		t.Logf("%v: all processes are of %s", time.Since(begun).Round(time.Millisecond), to.version)
	}
	// Go back to the earlier release, which works on the new schema.
	back := earlier.start(args...)
	running[0].stop()
	running[0] = back
	awaitProgress()

	ids := producers.stop()
	emitted := producers.emitted()
	t.Logf("%v: %d events were emitted, and %d of them are delivered", time.Since(begun).Round(time.Millisecond), emitted, delivered())
	eventually(t, "everything is delivered", func() bool { return delivered() >= emitted })
	var confirmed int
	eventually(t, "everything is confirmed", func() bool { books.scan(&confirmed, "SELECT count(*) FROM inbox"); return confirmed >= emitted })
	for _, p := range running {
		p.stop()
	}
	t.Logf("%v: %d events of %d keys, %d confirmed", time.Since(begun).Round(time.Millisecond), emitted, rollingKeys, confirmed)
	compareDeliveries(t, ids, receiver)
	if said := earlier.run(append([]string{"verify"}, servers...)...); !strings.Contains(said, "Every event is accounted for.") {
		t.Errorf("verify says %s", said)
	}
}

// compareDeliveries wants each event to be delivered once, and those of a key in their order.
func compareDeliveries(t *testing.T, ids [rollingKeys][]string, receiver *counted) {
	t.Helper()
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	keys := map[string]int{}
	for key, list := range ids {
		for _, id := range list {
			keys[id] = key
		}
	}
	var got [rollingKeys][]string
	for _, id := range receiver.first {
		if key, known := keys[id]; known {
			got[key] = append(got[key], id)
		} else {
			t.Errorf("event %s was delivered, which nobody emitted", id)
		}
	}
	for key, want := range ids {
		if !slices.Equal(got[key], want) {
			t.Errorf("%d events of key %d were emitted, and %d were delivered, in this order: %t", len(want), key, len(got[key]), slices.IsSorted(got[key]))
		}
	}
	for id, n := range receiver.taken {
		if n != 1 {
			t.Errorf("event %s was delivered %d times", id, n)
		}
	}
}
