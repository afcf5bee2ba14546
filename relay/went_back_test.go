package relay_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// The inbox's transaction records each effect, in the database in which producers'
// transactions record their events. After a failover both records agree: both are
// lost or both are there.
const ledgerSQL = `
CREATE TABLE emitted (id uuid PRIMARY KEY, key text, n bigserial);
CREATE TABLE effects (seq bigserial PRIMARY KEY, id uuid NOT NULL);
CREATE FUNCTION take_effect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO effects (id) VALUES (NEW.event_id); RETURN NULL; END $$;
CREATE TRIGGER take_effect AFTER INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION take_effect()`

// Some events have a key, and the tasks of some are kept when they are done.
const emitKeyedSQL = `
WITH e AS (SELECT outbox_new_id() AS id, $1::int AS shape, 'key ' || $2::int AS key),
     o AS (INSERT INTO outbox (id, event_type, payload, ordering_key, retention_seconds)
           SELECT id, 'test:effect', '', CASE WHEN shape % 2 = 0 THEN key END, CASE WHEN shape / 2 % 2 = 0 THEN 600 END FROM e)
INSERT INTO emitted (id, key) SELECT id, CASE WHEN shape % 2 = 0 THEN key END FROM e`

const (
	lostSQL       = `SELECT count(*) FROM emitted e WHERE NOT EXISTS (SELECT FROM effects f WHERE f.id = e.id)`
	doubledSQL    = `SELECT count(*) FROM (SELECT id FROM effects GROUP BY id HAVING count(*) > 1) AS twice`
	disorderedSQL = `SELECT count(*) FROM (SELECT n, lag(n) OVER (PARTITION BY key ORDER BY seq) AS before
	                 FROM effects JOIN emitted USING (id) WHERE key IS NOT NULL) AS e WHERE n < before`
	ghostsSQL  = `SELECT count(*) FROM effects f WHERE NOT EXISTS (SELECT FROM emitted e WHERE e.id = f.id)`
	unknownSQL = `SELECT count(DISTINCT event_id) FROM outbox_journal WHERE entry = 'unknown'`
)

// produce emits events of these shapes on four connections until the returned function is called. A transaction that
// fails is not repeated. No two connections write the same key, so the order of a key is that of its rows.
func produce(t *testing.T, url string, shapes []int) (stop func()) {
	t.Helper()
	db := schematest.Connect(t, url)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for p := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(p)))
			pause := time.NewTicker(8 * time.Millisecond)
			defer pause.Stop()
			for ctx.Err() == nil {
				_, _ = db.SQL().ExecContext(ctx, emitKeyedSQL, shapes[random.IntN(len(shapes))], p*10+random.IntN(10))
				select {
				case <-ctx.Done():
				case <-pause.C:
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(stop)
	return stop
}

var everyFailover = flag.Bool("every-failover", false, "TestPostgresGoesBack loses two seconds of each shape of event, with a fast and a slow worker")

// The standby that takes over does not have the last commits of producers, of the relay and of consumers, whose tasks
// are done. Every event that exists takes effect, once and in order, and none that does not exist.
func TestPostgresGoesBack(t *testing.T) {
	t.Parallel()
	if !*everyFailover {
		failOver(t, []int{0, 1, 2, 3}, 4*time.Millisecond, 0)
		return
	}
	for name, shapes := range map[string][]int{"keyed, kept": {0}, "not keyed, kept": {1}, "keyed": {2}, "not keyed": {3}, "mixed": {0, 1, 2, 3}} {
		for worker, perTask := range map[string]time.Duration{"fast": 4 * time.Millisecond, "slow": 20 * time.Millisecond} {
			// Run the cases one after another: during the two seconds the machine must do nothing else.
			t.Run(fmt.Sprintf("%s, %s worker", name, worker), func(t *testing.T) { failOver(t, shapes, perTask, 2*time.Second) })
		}
	}
}

// failOver replaces the primary by a standby that lacks its last commits: those of at least the time lossTime, and at
// least 300 effects. Its worker takes the time perTask for each task.
func failOver(t *testing.T, shapes []int, perTask, lossTime time.Duration) {
	t.Helper()
	primary := postgrestest.Start(t)
	newSession(t, migrated(t, primary.URL())).exec(ledgerSQL)
	standby := primary.AsynchronousStandby()
	both := postgrestest.FirstWritable(t, primary.URL(), standby.URL())
	w := newTown(t, both, redistest.Start(t).URL(), nil)
	w.handler = func(context.Context, domain.Effects, work.Task) error {
		<-time.After(perTask) // so that tasks wait in Redis
		return nil
	}
	w.start()
	w.watched()
	w.work()
	stop := produce(t, both, shapes)
	w.eventually(1, "SELECT (count(*) >= 100)::int FROM effects")
	standby.Detach()
	kept, emitted := w.count("SELECT count(*) FROM effects"), w.count("SELECT count(*) FROM emitted")
	detached := time.Now()
	w.eventually(1, "SELECT (count(*) >= $1 AND clock_timestamp() >= $2)::int FROM effects", kept+300, detached.Add(lossTime))
	t.Logf("lost with the primary: %d effects, %d events", w.count("SELECT count(*) FROM effects")-kept, w.count("SELECT count(*) FROM emitted")-emitted)
	primary.Stop()
	standby.Promote()
	look := &fixture{t: t, db: schematest.Connect(t, standby.URL())}
	have := look.count("SELECT count(*) FROM effects")
	look.eventually(1, "SELECT (count(*) >= $1)::int FROM effects", have+100)
	stop()
	look.eventually(0, lostSQL)
	look.eventually(0, "SELECT count(*) FROM outbox")
	t.Logf("%d events: lost %d, doubled %d, out of order %d, effects without an event %d; tasks without an event %d",
		look.count("SELECT count(*) FROM emitted"), look.count(lostSQL), look.count(doubledSQL), look.count(disorderedSQL), look.count(ghostsSQL), look.count(unknownSQL))
	if look.count("SELECT count(*) FROM outbox_journal WHERE entry = 'redriven' AND detail LIKE 'PostgreSQL may have gone back%another timeline%'") == 0 {
		t.Error("the journal does not say why events were sent again")
	}
	for what, query := range map[string]string{"lost": lostSQL, "doubled": doubledSQL, "out of order": disorderedSQL, "effects without an event": ghostsSQL} {
		if n := look.count(query); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
}
