package relay_test

import (
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
