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
	"outboxd/jobs/inspect"
	"outboxd/jobs/publish"
	"outboxd/relay"
)

// The rights on one queue's keys are taken away and given back under a running
// relay: that queue's events wait, uncharged, others go on, and the queue is named.
func TestRightsOnOneQueueHoldUpThatQueueOnly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin, log := connect(t, server.URL()), &journal{}
	acl := func(rules ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "u"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	all := []any{"on", ">secret", "+@all", "&*", "resetkeys", "~asynq:*"}
	allButShut := []any{"resetkeys", "~asynq:queues", "~asynq:{outboxd}*", "~asynq:{open}*", "~asynq:servers*", "~asynq:workers*"}
	acl(all...)
	handle := openRedis(t, as("u", "secret")(server.URL()))
	f := newFixture(t, schematest.Database(t), server.URL(), func(o *relay.Options) {
		publisher := publish.New(handle)
		o.Publisher, o.Unfinished = publisher, publisher.Tasks()
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	const emitBoth = `INSERT INTO outbox (event_type, payload, queue) SELECT 'test:' || n, '', CASE WHEN n % 2 = 0 THEN 'open' ELSE 'shut' END FROM generate_series(1, 60) n`
	f.start()
	f.exec(emitBoth)
	f.eventually(60, "SELECT count(*) FROM outbox_sent")
	acl(allButShut...)
	// Emit batches with events of both queues, and large batches in several pieces.
	for round := range 3 {
		f.exec(emitBoth)
		f.exec(`INSERT INTO outbox (event_type, payload, queue) SELECT 'test:large', convert_to(repeat('x', 700000), 'UTF8'), CASE WHEN n % 2 = 0 THEN 'open' ELSE 'shut' END FROM generate_series(1, 6) n`)
		f.eventually(30+33*(round+1), "SELECT count(*) FROM outbox_sent WHERE queue = 'open'")
	}
	f.exec(`INSERT INTO outbox (event_type, payload, queue) VALUES ('test:alone', '', 'shut')`)
	servertest.Eventually(f.t, "the queue is known to be unusable", func() bool { return slices.Equal(f.relay.UnusableQueues(), []string{"shut"}) })
	f.exec(`INSERT INTO outbox (event_type, payload, queue) VALUES ('test:last', '', 'open')`)
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:last'")
	if n := f.count("SELECT count(*) FROM outbox WHERE queue = 'shut' AND attempts = 0 AND last_error IS NULL"); n != 100 {
		t.Errorf("%d events wait as they were, want 100", n)
	}
	if err := f.relay.QueueUsable(); err != nil {
		t.Errorf("there is an outage of all: %v", err)
	}
	if n := strings.Count(log.String(), "a queue cannot be used"); n != 1 || strings.Contains(log.String(), "relaying pauses") {
		t.Errorf("the log tells %d times of one queue:\n%s", n, log.String())
	}
	if n := f.counter("outboxd_relay_queue_unusable", "queue", "shut"); n != 1 {
		t.Errorf("the metric is %v", n)
	}
	found, err := inspect.NewInspector(handle, false, time.Now).Examine(t.Context())
	if err != nil || !slices.ContainsFunc(found, func(f domain.Finding) bool {
		return f.Code == "redis-queue-rights" && strings.Contains(f.Found, `"shut"`) && !strings.Contains(f.Found, "open")
	}) {
		t.Errorf("doctor found %+v, %v", found, err)
	}
	acl(all...)
	f.eventually(0, "SELECT count(*) FROM outbox")
	f.eventually(130, "SELECT count(*) FROM outbox_sent WHERE queue = 'shut' AND attempts = 0")
	servertest.Eventually(f.t, "the queue is well", func() bool { return f.relay.UnusableQueues() == nil })
	if n := len(f.tasks("shut")); n != 130 {
		t.Errorf("%d tasks in the queue, want 130", n)
	}
}
