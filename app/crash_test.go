package app_test

import (
	"testing"

	"outboxd/repository/repositorytest"
)

func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const rounds, concurrency = 3, 10
	databaseURL, redisURL, dataDir := repositorytest.Database(t), repositorytest.Redis(t), t.TempDir()
	var registered []string
	var unanswered int
	for round := range rounds {
		p := start(t, on(databaseURL, redisURL, dataDir)...)
		l := startLoad(t, p.api, 6)
		l.await(20 + 7*round) // another moment each time
		p.kill()
		registered = append(registered, l.finish()...)
		unanswered += l.unanswered
	}
	expireLeases(t, redisURL)
	p := start(t, on(databaseURL, redisURL, dataDir)...)
	b := openLedger(t, databaseURL).await(registered)
	if b.Users > len(registered)+unanswered || b.Charged != 0 {
		t.Errorf("%d answers and %d requests without one, but the books say %+v", len(registered), unanswered, b)
	}
	mails, repeats := countMails(t, dataDir)
	t.Logf("%d users, %d requests without an answer, %d mails written again because a kill fell between mail and commit", b.Users, unanswered, repeats)
	// A mail goes out again only for a task that was running when the process was killed.
	if mails != b.Users || repeats > rounds*concurrency {
		t.Errorf("%d mails and %d repeats for %d users", mails, repeats, b.Users)
	}
	p.stop()
}
