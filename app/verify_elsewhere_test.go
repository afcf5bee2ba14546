package app_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/client/consumer"
)

// A consumer has its rows in another database. The account of the outbox adds up, names an
// event whose acknowledgement was lost, and adds up again after a redrive, with one effect
// for each event.
func TestVerifyAddsUpOverTwoDatabases(t *testing.T) {
	t.Parallel()
	const events = 6
	url, redis := schematest.Database(t), servertest.Redis(t)
	origin := schematest.Connect(t, url).SQL()
	own, err := sql.Open("pgx", servertest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	exec := func(db *sql.DB, statement string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(own, "CREATE SCHEMA billing; CREATE TABLE billing.effects (n integer)")
	// The leader would send the event of a lost acknowledgement again by itself.
	launch(t, "--roles=relay", "--relay-missing=report", "--database-url="+url, "--redis-url="+redis)
	connection, err := asynq.ParseRedisURI(redis)
	if err != nil {
		t.Fatal(err)
	}
	c, err := consumer.NewRemote(consumer.SQL(own), connection, consumer.Options{Schema: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.CreateInbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	mux := asynq.NewServeMux()
	mux.Handle("test:elsewhere", consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, n int) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO billing.effects VALUES ($1)", n)
		return err
	}))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := consumer.Run(ctx, connection, asynq.Config{LogLevel: asynq.FatalLevel}, mux); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })

	verify := func() (code, confirmed int, violations string) {
		t.Helper()
		r := execute(t, nil, "verify", "-o", "json", "--database-url="+url, "--redis-url="+redis)
		var document struct {
			Account    []struct{ Confirmed, Difference int }
			Violations []struct{ Broken string }
		}
		if err := json.Unmarshal([]byte(r.stdout), &document); err != nil {
			t.Fatalf("%v: %s %s", err, r.stdout, r.stderr)
		}
		for _, line := range document.Account {
			confirmed += line.Confirmed
			if line.Difference != 0 {
				t.Errorf("the account has a difference: %s", r.stdout)
			}
		}
		for _, v := range document.Violations {
			violations += v.Broken + "\n"
		}
		return r.code, confirmed, violations
	}
	acknowledged := func() {
		t.Helper()
		servertest.Eventually(t, "every event is acknowledged", func() bool {
			var n int
			return origin.QueryRowContext(t.Context(), "SELECT count(*) FROM inbox").Scan(&n) == nil && n == events
		})
	}
	exec(origin, "SELECT outboxd.emit('test:elsewhere', to_jsonb(n), ordering_key => 'k' || n % 3) FROM generate_series(1, $1) AS n", events)
	acknowledged()
	if code, confirmed, violations := verify(); code != 0 || confirmed != events || violations != "" {
		t.Errorf("exit code %d, %d confirmed, %q", code, confirmed, violations)
	}
	// As if Redis had lost the acknowledgement of one event.
	exec(origin, "DELETE FROM inbox WHERE event_id = (SELECT id FROM outbox_sent LIMIT 1)")
	exec(origin, "UPDATE outbox_sent SET sent_at = now() - interval '2 minutes'")
	if code, confirmed, violations := verify(); code != 1 || confirmed != events-1 || strings.TrimSpace(violations) != "neither in Redis nor confirmed" {
		t.Errorf("without one acknowledgement: exit code %d, %d confirmed, %q", code, confirmed, violations)
	}
	if r := execute(t, nil, "redrive", "--since=1h", "--yes", "--database-url="+url, "--redis-url="+redis); r.code != 0 {
		t.Fatalf("redrive: %+v", r)
	}
	acknowledged()
	if code, confirmed, violations := verify(); code != 0 || confirmed != events || violations != "" {
		t.Errorf("after the redrive: exit code %d, %d confirmed, %q", code, confirmed, violations)
	}
	var effects, repeated int
	if err := own.QueryRowContext(t.Context(), "SELECT count(*), count(*) - count(DISTINCT n) FROM billing.effects").Scan(&effects, &repeated); err != nil || effects != events || repeated != 0 {
		t.Errorf("%d effects of %d events, %d repeated, %v", effects, events, repeated, err)
	}
}
