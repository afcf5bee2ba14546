package relay_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/relay"
	"outboxd/repository/examine"
)

// If the database refuses a heal, doctor says so with the database's reason, and the metric
// says so, until a heal works.
func TestWhatTheLeaderFailsAtIsFound(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newTown(t, schematest.Database(t), server.URL(), nil)
	w.start()
	w.watched()
	w.exec(emitEffects, 3)
	w.eventually(0, "SELECT count(*) FROM outbox")
	w.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the auditors have the journal'; END $$`)
	w.exec(`CREATE TRIGGER refuse BEFORE INSERT ON outbox_journal EXECUTE FUNCTION refuse()`)
	before := w.heals()
	server.Flush()
	w.eventually(1, "SELECT count(*) FROM outbox_failing WHERE error LIKE '%the auditors have the journal%'")
	examiner := examine.New(w.db, examine.Options{SnapshotAge: time.Hour, KeyAge: time.Hour, SlotBytes: 1 << 30, Now: time.Now})
	found, err := examiner.Examine(t.Context())
	if err != nil || !slices.ContainsFunc(found, func(f domain.Finding) bool {
		return f.Code == "leader-failing" && strings.Contains(f.Found, "send again") && strings.Contains(f.Found, "the auditors have the journal")
	}) {
		t.Errorf("found %+v: %v", found, err)
	}
	if n := w.counter("outboxd_relay_duty_failing", "duty", "heal"); n != 1 {
		t.Errorf("the metric of a heal that fails is %v", n)
	}
	if n := w.counter("outboxd_relay_duty_failing", "duty", "measure"); n != 0 {
		t.Errorf("the metric of what works is %v", n)
	}
	w.exec(`DROP TRIGGER refuse ON outbox_journal`)
	w.healed(before)
	w.eventually(0, "SELECT count(*) FROM outbox_failing")
	servertest.Eventually(w.t, "the metric says that the heal worked", func() bool { return w.counter("outboxd_relay_duty_failing", "duty", "heal") == 0 })
}

// A Redis without memory is an outage and no failure of healing, also if no poller has noticed it: there is
// nothing to relay.
func TestARedisWithoutMemoryIsNoFailureOfHealing(t *testing.T) {
	t.Parallel()
	server, log := redistest.Start(t), &journal{}
	w := newTown(t, schematest.Database(t), server.URL(), func(o *relay.Options) {
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	w.start()
	w.watched()
	before, admin := w.heals(), connect(t, server.URL())
	if err := admin.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	server.Flush()
	servertest.Eventually(t, "the canary cannot be written", func() bool {
		return strings.Contains(log.String(), "could not check whether Redis has kept its data") && strings.Contains(log.String(), "redis-memory")
	})
	if n := w.counter("outboxd_relay_duty_failing", "duty", "heal"); n != 0 {
		t.Errorf("the metric of healing is %v", n)
	}
	if n := w.count("SELECT count(*) FROM outbox_failing"); n != 0 {
		t.Errorf("%d duties are recorded as failing", n)
	}
	if err := admin.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	w.healed(before)
}
