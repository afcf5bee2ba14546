package relay_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/repository/recall"
)

// The leader cancels a mail whose producer could only ask for it.
func TestTheLeaderCarriesOutWhatProducersAskFor(t *testing.T) {
	t.Parallel()
	url, database := servertest.Redis(t), schematest.Database(t)
	outward := func(o *relay.Options) { o.Outward = []string{"mail"} }
	f := newFixture(t, database, url, outward)
	stop := f.start()
	servertest.Eventually(t, "the leader knows what mails are", func() bool {
		return f.count("SELECT count(*) FROM outbox_queue_identity WHERE outward = '{mail}'") == 1
	})
	f.exec("SELECT outboxd.emit('mail', '{}')")
	servertest.Eventually(t, "the mail is in Redis", func() bool { return f.count("SELECT count(*) FROM outbox_sent") == 1 })
	stop()
	f.exec("SELECT outboxd.cancel(id) FROM outbox_sent")
	if n := f.count("SELECT count(*) FROM outbox_requests"); n != 1 {
		t.Fatalf("%d requests, want 1", n)
	}
	newFixture(t, database, url, func(o *relay.Options) {
		outward(o)
		o.Duties.Changes = recall.New(f.db).Asking(publish.New(openRedis(t, url)).Tasks())
	}).start()
	servertest.Eventually(t, "the mail is cancelled", func() bool {
		return f.count("SELECT count(*) FROM outbox_cancelled") == 1 && f.count("SELECT count(*) FROM outbox_requests") == 0
	})
}

// While Redis cannot be asked, requests that need no answer of Redis still end, even behind
// many others.
func TestRequestsThatDoNotNeedRedisEndWithoutIt(t *testing.T) {
	t.Parallel()
	const mails = 120
	url, database := servertest.Redis(t), schematest.Database(t)
	f := newFixture(t, database, url, func(o *relay.Options) { o.Outward = []string{"mail"} })
	stop := f.start()
	servertest.Eventually(t, "the leader knows what mails are", func() bool {
		return f.count("SELECT count(*) FROM outbox_queue_identity WHERE outward = '{mail}'") == 1
	})
	f.exec("SELECT outboxd.emit('mail', '{}') FROM generate_series(1, $1)", mails)
	f.eventually(mails, "SELECT count(*) FROM outbox_sent")
	stop()
	f.exec("SELECT outboxd.cancel(id) FROM outbox_sent")
	f.exec("SELECT outboxd.confirm(event_id) FROM (SELECT event_id FROM outbox_requests ORDER BY event_id DESC LIMIT 3) AS last")
	closed := openRedis(t, url)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	stop = newFixture(t, database, url, func(o *relay.Options) {
		o.Outward = []string{"mail"}
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Duties.Changes = recall.New(f.db).Asking(publish.New(closed).Tasks())
	}).start()
	f.eventually(mails-3, "SELECT count(*) FROM outbox_requests")
	servertest.Eventually(t, "the leader has looked at all", func() bool {
		return f.count("SELECT count(*) FROM outbox_journal WHERE entry = 'too late' AND detail LIKE 'not cancelled: confirmed%'") == 3
	})
	stop()
	if !strings.Contains(log.String(), "answer=confirmed events=3") {
		t.Errorf("the log does not tell what the leader did:\n%s", log.String())
	}
}
