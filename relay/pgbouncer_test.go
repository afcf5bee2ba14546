package relay_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/relay"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

// throughPgBouncer makes a relay whose pool connects to a PgBouncer in transaction mode. For LISTEN
// and for the leader's lock, the relay connects to listenURL ("": to the PgBouncer too).
func throughPgBouncer(t *testing.T, direct, listenURL, mode string, said *journal, change func(*relay.Options)) *fixture {
	t.Helper()
	return through(t, postgrestest.PgBouncer(t, direct), direct, listenURL, mode, said, change)
}

// The function through does the same with a PgBouncer that runs already, at the URL pooled.
func through(t *testing.T, pooled, direct, listenURL, mode string, said *journal, change func(*relay.Options)) *fixture {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{
		URL: pooled, MaxConns: 8, ExecMode: mode,
		ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return newFixture(t, direct, servertest.Redis(t), func(o *relay.Options) {
		o.Store = repository.NewOutbox(db, repository.OutboxOptions{History: true})
		o.Presence = repository.NewPresence(db, listenURL)
		o.Housekeeping = upkeep.NewHousekeeping(db, listenURL)
		o.Database = db.Ping
		o.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), said), nil))
		if change != nil {
			change(o)
		}
	})
}

const leaders = `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// The relay polls only once an hour, so the last event arrives only if its notification comes by the direct URL.
func TestThroughPgBouncerWithADirectURL(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_describe", "exec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			direct := schematest.Database(t)
			var said journal
			f := throughPgBouncer(t, direct, direct, mode, &said, nil)
			if err := f.redis.Set(t.Context(), "asynq:{broken}:pending", "x", 0).Err(); err != nil {
				t.Fatal(err)
			}
			stop := f.start()
			f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
			f.eventually(1, leaders)
			f.exec(`INSERT INTO outbox (event_type, payload, headers, queue, max_retry, deadline, available_at)
				SELECT 'test:'||n, '\x00ff', '{"a":"b"}', CASE n % 2 WHEN 0 THEN 'broken' ELSE 'default' END, n, '2100-01-01Z', now() + n * interval '1 ms'
				FROM generate_series(1, 300) n`)
			f.eventually(150, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
			f.eventually(150, "SELECT count(*) FROM outbox_dead WHERE attempts = 3")
			f.eventually(0, "SELECT count(*) FROM outbox")
			if n := len(f.tasks("default")); n != 150 {
				t.Errorf("%d tasks, want 150", n)
			}
			f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
			f.exec("SELECT outboxd.emit('test:woken', '{}')")
			f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:woken'")
			if said.count("cannot") != 0 {
				t.Error("complains")
			}
			stop()
			f.eventually(0, leaders)
		})
	}
}

// Through PgBouncer LISTEN is accepted, but no notification arrives. The relay
// finds that out, asks producers for no notifications, and polls.
func TestThroughPgBouncerAlone(t *testing.T) {
	t.Parallel()
	for name, listen := range map[string]bool{"tries to listen": true, "does not listen": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said journal
			f := throughPgBouncer(t, schematest.Database(t), "", "cache_describe", &said, func(o *relay.Options) {
				o.Listen, o.PollWithoutListen = listen, 50*time.Millisecond
			})
			f.start()
			f.eventually(1, "SELECT count(*) FROM outbox_relays")
			f.exec(emitMany, 150)
			f.eventually(150, "SELECT count(*) FROM outbox_sent")
			x := trouble{fixture: f}
			servertest.Eventually(x.t, "the relay says that LISTEN does not work", func() bool { return !listen || said.count("LISTEN does not work") == 1 })
			for n := 1; n <= 5; n++ {
				f.exec("SELECT outboxd.emit('test:polled', '{}')")
				f.eventually(n, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:polled'")
				f.eventually(0, "SELECT count(*) FROM outbox_relays WHERE asleep")
			}
			if n := len(f.tasks("default")); n != 155 {
				t.Errorf("%d tasks, want 155", n)
			}
		})
	}
}

// PgBouncer is killed and started again twice while events pass. In session mode LISTEN goes through it too. Nothing is
// lost or charged, and the relay listens and relays again.
func TestPgBouncerRestarts(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			direct := schematest.Database(t)
			bouncer := postgrestest.StartPgBouncer(t, direct, mode)
			listenURL := direct
			if mode == "session" {
				listenURL = ""
			}
			var said journal
			f := through(t, bouncer.URL(), direct, listenURL, "cache_describe", &said, nil)
			f.start()
			f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
			f.eventually(1, leaders)
			const each = 200
			emitted := 0
			for range 2 {
				f.exec(emitMany, each)
				f.eventually(1, "SELECT (count(*) > $1)::int FROM outbox_sent", emitted)
				bouncer.Kill()
				f.exec(emitMany, each)
				emitted += 2 * each
				back := time.Now()
				bouncer.Start()
				f.eventually(emitted, "SELECT count(*) FROM outbox_sent WHERE attempts = 0")
				t.Logf("everything is relayed %v after PgBouncer started again", time.Since(back).Round(time.Millisecond))
			}
			f.eventually(1, "SELECT count(*) FROM outbox_relays WHERE asleep")
			f.exec("SELECT outboxd.emit('test:woken', '{}')") // the relay polls once an hour
			f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:woken'")
			if n := len(f.tasks("default")); n != emitted+1 {
				t.Errorf("%d tasks, want %d", n, emitted+1)
			}
		})
	}
}
