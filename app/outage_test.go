package app_test

import (
	"net/http"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest/redistest"
)

func TestRedisAwayUnderLoad(t *testing.T) {
	t.Parallel()
	databaseURL, redis, dataDir := schematest.Database(t), redistest.Start(t), t.TempDir()
	p := start(t, on(databaseURL, redis.URL(), dataDir)...)
	books := openLedger(t, databaseURL)
	l := startLoad(t, p.api, 4)
	l.await(8)
	const burst = 200
	books.produce(burst)
	books.awaitSent(20)

	redis.Kill()
	l.await(10)
	var ready readiness
	eventually(t, "/readyz says that Redis is away", func() bool {
		ready = readiness{}
		return getJSON(t, p.monitor+"/readyz", &ready) == http.StatusServiceUnavailable && ready.Status == "failing"
	})
	for _, check := range ready.Checks {
		if want := map[string]string{"postgres": "ok", "redis": "error"}[check.Name]; check.Status != want {
			t.Errorf("/readyz says of %s: %s, want %s", check.Name, check.Status, want)
		}
	}
	if b := books.read(); b.Pending == 0 {
		t.Errorf("nothing waits although Redis is away: %+v", b)
	}

	redis.Start()
	back := time.Now()
	delivered := books.read().Delivered
	eventually(t, "events are delivered again", func() bool { return books.read().Delivered > delivered })
	t.Logf("events are delivered again %v after Redis came back", time.Since(back).Round(time.Millisecond))
	l.await(10)
	registered := l.finish()
	b := books.await(registered)
	if certain := len(registered) + burst; b.Users < certain || b.Users > certain+l.refused || b.Charged != 0 {
		t.Errorf("%d registered and %d came by SQL, and the books say %+v; an outage must charge no attempt", len(registered), burst, b)
	}
	if mails, repeats := countMails(t, dataDir); mails != b.Users || repeats != 0 {
		t.Errorf("%d mails and %d repeats for %d users", mails, repeats, b.Users)
	}
	eventually(t, "it is ready again", func() bool { status, _ := get(t, p.monitor+"/readyz"); return status == http.StatusOK })
	p.stop()
}

// TestStartWithoutRedis starts while Redis cannot be reached. Registrations are taken
// all the same.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	databaseURL, redis := schematest.Database(t), redistest.Start(t)
	redis.Kill()
	p := start(t, on(databaseURL, redis.URL(), t.TempDir())...)
	id := register(t, p.api, "ada@example.com")
	redis.Start()
	awaitSent(t, p.api, id)
	if b := openLedger(t, databaseURL).await([]string{id}); b.Charged != 0 {
		t.Errorf("the books say %+v", b)
	}
	p.stop()
}
