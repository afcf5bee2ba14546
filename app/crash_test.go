package app_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const rounds, burst, concurrency = 3, 200, 10
	databaseURL, redisURL, dataDir := schematest.Database(t), servertest.Redis(t), t.TempDir()
	flags := append(on(databaseURL, redisURL, dataDir), "--worker-concurrency="+strconv.Itoa(concurrency))
	var registered []string
	var unanswered int
	for range rounds {
		p := start(t, flags...)
		books := openLedger(t, databaseURL)
		l := startLoad(t, p.api, 4)
		l.await(4)
		books.produce(burst)
		books.awaitSent(1 + rand.IntN(burst/2)) // relay and worker are in the middle of it
		p.kill()
		registered = append(registered, l.finish()...)
		unanswered += l.unanswered + l.refused
		t.Logf("killed: %+v", books.read())
	}
	expireLeases(t, redisURL)
	p := start(t, flags...)
	b := openLedger(t, databaseURL).await(registered)
	answered := rounds*burst + len(registered)
	if b.Users < answered || b.Users > answered+unanswered || b.Charged != 0 {
		t.Errorf("%d users are certain and %d possible, but the books say %+v", answered, unanswered, b)
	}
	mails, repeats := countMails(t, dataDir)
	t.Logf("%d users; %d mails were written again, because a kill fell between a mail and its commit", b.Users, repeats)
	// A mail goes out again only for a task that was running when the process was killed.
	if mails != b.Users || repeats > rounds*concurrency {
		t.Errorf("%d mails and %d repeats for %d users", mails, repeats, b.Users)
	}
	p.stop()
}
