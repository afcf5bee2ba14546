package app_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outboxd/app/child"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain/crashpoint"
)

// crashVariable is what crashpoint reads in a build with its tag.
const crashVariable = "CRASHPOINT"

// builds are the programs that buildOutboxd has built, by their flags.
var builds sync.Map

// buildOutboxd builds outboxd with these flags, once for all tests, and returns its path.
func buildOutboxd(t *testing.T, flags ...string) string {
	t.Helper()
	build, _ := builds.LoadOrStore(strings.Join(flags, " "), sync.OnceValues(func() (string, error) { return build(context.WithoutCancel(t.Context()), flags) }))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(ctx context.Context, flags []string) (string, error) {
	folder, err := os.MkdirTemp("", "build") // removed with the test servers' folder
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "outboxd")
	command := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path}, flags, []string{"outboxd"})...)
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", command.Args, err, out)
	}
	return path, nil
}

// withCrashPoints returns a program that has the crash points. It is this test's own program if make test has
// compiled it, with the tag crashpoints and the race detector.
func withCrashPoints(t *testing.T) string {
	t.Helper()
	if crashpoint.Compiled {
		return os.Args[0]
	}
	flags := []string{"-tags=crashpoints"}
	if raceDetector() {
		flags = append(flags, "-race")
	}
	return buildOutboxd(t, flags...)
}

// raceDetector reports whether this binary has the race detector.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestCrashPoints kills real processes at the crash points, and counts the effects.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	tagged := withCrashPoints(t)
	t.Run("are not in a release", func(t *testing.T) {
		t.Parallel()
		has := func(path string) bool {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return bytes.Contains(text, []byte(crashVariable)) || bytes.Contains(text, []byte(crashpoint.RelaySettled))
		}
		if !has(tagged) {
			t.Error("a build with the tag has no crash points: this test cannot tell")
		}
		if has(buildOutboxd(t)) {
			t.Error("a build without the tag has crash points")
		}
	})
	t.Run("of the relay", func(t *testing.T) {
		t.Parallel()
		c := newCrashes(t, tagged)
		for _, point := range []crashpoint.Point{
			crashpoint.QueueMarked, crashpoint.RelayClaimed, crashpoint.RelayPublished, crashpoint.RelaySettled, crashpoint.RelayCommitted, crashpoint.CanaryRemembered,
		} {
			c.emit(20)
			c.dies(point, c.daemon("relay,worker")...)
		}
		c.recover(0)
	})
	t.Run("of schedules", func(t *testing.T) {
		t.Parallel()
		c := newCrashes(t, tagged)
		c.exec(`INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at)
			VALUES ('s', '* * * * *', 'UTC', 'all', 'tick', '', date_trunc('minute', now()) - interval '10 minutes')`)
		c.dies(crashpoint.ScheduleDecided, c.daemon("relay")...)
		if n := c.count("SELECT count(*) FROM outbox_schedules WHERE last_at IS NOT NULL"); n != 0 {
			t.Error("a leader that died before it emitted has moved the schedule on")
		}
		c.dies(crashpoint.ScheduleEmitted, c.daemon("relay")...)
		daemon := c.launch("", c.daemon("relay")...)
		within(t, 2*patience, "the next leader goes on", func() bool {
			return c.count("SELECT count(*) FROM outbox_schedules WHERE next_at > now()") == 1
		})
		c.end(daemon, syscall.SIGTERM)
		const ticks = "SELECT headers ->> 'outboxd-tick' AS tick FROM outbox WHERE event_type = 'tick' UNION ALL SELECT headers ->> 'outboxd-tick' FROM outbox_sent WHERE event_type = 'tick'"
		events, emitted := c.count("SELECT count(*) FROM ("+ticks+") AS e"), c.count("SELECT emitted FROM outbox_schedules")
		if distinct := c.count("SELECT count(DISTINCT tick) FROM (" + ticks + ") AS e"); events != emitted || distinct != emitted || emitted < 11 {
			t.Errorf("%d events of %d ticks, want %d of each", events, distinct, emitted)
		}
	})
	t.Run("of the worker", func(t *testing.T) {
		t.Parallel()
		c := newCrashes(t, tagged)
		for _, point := range []crashpoint.Point{crashpoint.WorkerAsked, crashpoint.WorkerSent, crashpoint.WorkerBegan, crashpoint.WorkerEffected, crashpoint.WorkerCommitted} {
			c.emit(20)
			c.dies(point, c.daemon("relay,worker")...)
		}
		c.exec(`SELECT outboxd.emit('email:send_notification', '{}', queue => 'notifications')`)
		c.dies(crashpoint.WorkerBuried, c.daemon("relay,worker")...)
		c.recover(1)
	})
	t.Run("of healing", func(t *testing.T) {
		t.Parallel()
		c := newCrashes(t, tagged)
		c.emit(40)
		relay := c.launch("", c.daemon("relay")...)
		eventually(t, "everything that may go is in Redis, and the canary too", func() bool {
			return c.count(`SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_queue_identity WHERE canary = '')`) == 0
		})
		c.end(relay, syscall.SIGTERM)
		if err := openRedis(t, c.redis).FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		for _, point := range []crashpoint.Point{crashpoint.HealMarked, crashpoint.HealBatch, crashpoint.HealRedriven, crashpoint.HealRemembered} {
			c.dies(point, c.daemon("relay")...)
		}
		c.recover(0)
	})
	t.Run("of a replay", func(t *testing.T) {
		t.Parallel()
		c := newCrashes(t, tagged)
		c.emit(20)
		c.exec(`UPDATE outbox SET event_type = 'email:send_notification', payload = '{}'`)
		worker := c.launch("", append(c.daemon("relay,worker"), "--relay-ordering=skip")...)
		eventually(t, "all are dead", func() bool { return c.count(`SELECT count(*) FROM outbox_dead`) == 20 })
		c.end(worker, syscall.SIGTERM)
		c.exec(`UPDATE outbox_dead d SET payload = l.payload FROM ledger l WHERE l.event_id = d.id`)
		replay := []string{"dead", "replay", "--all", "--yes", "--database-url=" + c.database, "--redis-url=" + c.redis}
		c.dies(crashpoint.ReplayWritten, replay...)
		if n := c.count(`SELECT count(*) FROM outbox_dead`); n != 20 {
			t.Errorf("%d dead letters are left of a replay that did not commit, want 20", n)
		}
		c.dies(crashpoint.ReplayCommitted, replay...)
		c.recover(0)
	})
	suspended(t, tagged)
}

// suspended stops a relay in mid-batch until PostgreSQL has ended its transaction
// and another one has delivered the batch; then it wakes up.
func suspended(t *testing.T, tagged string) {
	t.Helper()
	for _, point := range []crashpoint.Point{crashpoint.RelayClaimed, crashpoint.RelayPublished, crashpoint.RelaySettled} {
		t.Run("a relay suspended at "+string(point), func(t *testing.T) {
			t.Parallel()
			c := newCrashes(t, tagged)
			c.emit(40)
			suspended := c.launch(string(point)+":stop", append(c.daemon("relay"), "--relay-concurrency=1")...)
			// End the relay's transactions here, because PostgreSQL does so only after a minute.
			const idle = ` FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`
			ended := 0
			eventually(t, "PostgreSQL ends the transactions of the suspended relay", func() bool {
				ended += c.count(`SELECT count(pg_terminate_backend(pid))` + idle + ` AND state_change < clock_timestamp() - interval '2 seconds'`)
				return ended > 0 && c.count(`SELECT count(*)`+idle) == 0
			})
			other := c.launch("", c.daemon("relay,worker")...)
			c.await()
			if err := suspended.process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			// To go on, the relay that was suspended has to relay more events, so end the other one.
			c.end(other, syscall.SIGTERM)
			c.emit(20)
			eventually(t, "the relay that woke up relays", func() bool {
				return c.count(`SELECT count(*) FROM outbox`) == 0
			})
			c.end(suspended, syscall.SIGTERM)
			if suspended.process.Err() != nil {
				t.Errorf("the relay that woke up ended with %v\n%s", suspended.process.Err(), suspended.log.String())
			}
			c.recover(0)
		})
	}
}

// crashes is one system whose processes die, and a ledger of what was emitted
// and what took effect. Some of the events have ordering keys.
type crashes struct {
	ledger
	tagged, database, redis, dir string
}

const crashLedgerSQL = `
CREATE TABLE ledger (seq bigserial PRIMARY KEY, event_id uuid NOT NULL, notification_id uuid NOT NULL UNIQUE, key text, payload bytea NOT NULL);
CREATE TABLE effects (seq bigserial PRIMARY KEY, notification_id uuid NOT NULL);
CREATE FUNCTION effect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO outboxd.effects (notification_id) VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER effect AFTER UPDATE ON notifications FOR EACH ROW EXECUTE FUNCTION effect();
CREATE FUNCTION emit(n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    person uuid; told uuid; about jsonb; name text; event uuid;
BEGIN
    INSERT INTO users (email, password_hash) VALUES (outbox_new_id() || '@example.com', 'x') RETURNING id INTO person;
    FOR i IN 1..n LOOP
        INSERT INTO notifications (user_id, type, message) VALUES (person, 'USER_REGISTRATION', 'Welcome!') RETURNING id INTO told;
        about := jsonb_build_object('user_id', person, 'notification_id', told, 'notification_type', 'USER_REGISTRATION');
        name := CASE WHEN i % 2 = 0 THEN 'key' || i % 6 END;
        event := outboxd.emit('email:send_notification', about, ordering_key => name, queue => 'notifications');
        INSERT INTO ledger (event_id, notification_id, key, payload) VALUES (event, told, name, convert_to(about::text, 'UTF8'));
    END LOOP;
END $$`

func newCrashes(t *testing.T, tagged string) *crashes {
	t.Helper()
	c := &crashes{tagged: tagged, database: schematest.Database(t), redis: servertest.Redis(t), dir: t.TempDir()}
	if r := execute(t, nil, "migrate", "up", "--example=on", "--database-url="+c.database); r.code != 0 {
		t.Fatal(r.stderr)
	}
	c.ledger = openLedger(t, c.database)
	c.exec(crashLedgerSQL)
	return c
}

func (c *crashes) exec(sql string) {
	c.t.Helper()
	if _, err := c.conn.Exec(c.t.Context(), sql); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crashes) count(sql string) (n int) {
	c.t.Helper()
	c.scan(&n, sql)
	return n
}

func (c *crashes) emit(n int) {
	c.t.Helper()
	var nothing string
	c.scan(&nothing, "SELECT emit($1)::text", n)
}

// daemon is the command line of a process with these roles.
func (c *crashes) daemon(roles string) []string {
	return append(on(c.database, c.redis, c.dir), "--example=on", "--roles="+roles, "--monitor-addr=", "--redis-check-interval=1s")
}

// doomed is a process of the build with crash points.
type doomed struct {
	process *child.Process
	log     *transcript
}

func (c *crashes) launch(crash string, args ...string) doomed {
	c.t.Helper()
	d := doomed{log: &transcript{}}
	cmd := exec.Command(c.tagged, args...)
	cmd.Dir, cmd.Stderr = c.t.TempDir(), d.log
	cmd.Env = append(servertest.Environ(), processVariable+"=1", crashVariable+"="+crash, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	keepOpen(c.t, cmd)
	process, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		c.t.Fatal(err)
	}
	d.process = process
	c.t.Cleanup(func() {
		_ = process.Signal(syscall.SIGKILL)
		<-process.Done()
		if c.t.Failed() {
			log := d.log.String()
			c.t.Logf("%q %v logged:\n%s", crash, args, log[max(0, len(log)-4000):])
		}
	})
	return d
}

// dies runs outboxd until it has killed itself at a point.
func (c *crashes) dies(at crashpoint.Point, args ...string) {
	c.t.Helper()
	expireLeases(c.t, c.redis)
	d := c.launch(string(at), args...)
	c.ends(d, "outboxd kills itself at "+string(at))
	if status, ok := d.process.State().Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		c.t.Fatalf("at %s outboxd ended with %v\n%s", at, d.process.State(), d.log.String())
	}
}

func (c *crashes) end(d doomed, signal syscall.Signal) {
	c.t.Helper()
	if err := d.process.Signal(signal); err != nil {
		c.t.Fatal(err)
	}
	c.ends(d, "outboxd ends")
}

func (c *crashes) ends(d doomed, what string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*patience)
	defer cancel()
	select {
	case <-d.process.Done():
	case <-ctx.Done():
		c.t.Fatalf("waited %v in vain: %s", 2*patience, what)
	}
}

// await waits until everything that was emitted took effect.
func (c *crashes) await() {
	c.t.Helper()
	within(c.t, 2*patience, "everything that was emitted takes effect", func() bool {
		return c.count(`SELECT count(*) FROM ledger WHERE notification_id NOT IN (SELECT notification_id FROM effects)`) == 0
	})
}

// recover lets processes that do not die finish the work, and checks the promises.
func (c *crashes) recover(dead int) {
	c.t.Helper()
	expireLeases(c.t, c.redis)
	begun := time.Now()
	daemon := c.launch("", c.daemon("relay,worker")...)
	c.await()
	eventually(c.t, "nothing waits", func() bool {
		return c.count(`SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_held)`) == 0
	})
	c.end(daemon, syscall.SIGTERM)
	c.t.Logf("recovered after %v: %d events", time.Since(begun).Round(time.Millisecond), c.count(`SELECT count(*) FROM ledger`))
	for what, sql := range map[string]string{
		"effects were doubled": `SELECT count(*) - count(DISTINCT notification_id) FROM effects`,
		"effects came out of order": `SELECT count(*) FROM (SELECT l.seq < max(l.seq) OVER (PARTITION BY key ORDER BY e.seq) AS late
			FROM effects e JOIN ledger l USING (notification_id) WHERE key IS NOT NULL) AS o WHERE late`,
	} {
		if n := c.count(sql); n != 0 {
			c.t.Errorf("%d %s", n, what)
		}
	}
	if n := c.count(`SELECT count(*) FROM outbox_dead`); n != dead {
		c.t.Errorf("%d dead letters, want %d", n, dead)
	}
	r := execute(c.t, nil, "verify", "--database-url="+c.database, "--redis-url="+c.redis)
	if r.code != 0 || !strings.Contains(r.stdout, "email:send_notification") {
		c.t.Errorf("verify ends with %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}
