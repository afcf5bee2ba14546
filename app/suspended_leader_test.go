package app_test

import (
	"syscall"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest/redistest"
)

// How long the leader is suspended, and when Redis then loses its data.
const (
	suspension = 90 * time.Second
	flushAfter = 10 * time.Second
)

// TestTheLeaderIsSuspended stops the leader (SIGSTOP) under load. Meanwhile Redis loses its data, with tasks in it. Another
// relay leads and sends the lost events again. When the old leader goes on, it no longer leads. Every event takes effect
// once. The test takes two minutes, so it runs only with -every-failover.
func TestTheLeaderIsSuspended(t *testing.T) {
	t.Parallel()
	if !*everyFailover {
		t.Skip("takes two minutes: give -every-failover")
	}
	databaseURL, redis, dataDir := schematest.Database(t), redistest.Start(t), t.TempDir()
	flags := append(on(databaseURL, redis.URL(), dataDir), "--redis-check-interval=200ms", "--example=on")
	first := start(t, append(flags, "--roles=relay")...)
	first.awaitLog("this process is the leader")
	second := start(t, append(flags, "--roles=relay")...)
	worker := start(t, append(flags, "--roles=worker")...)
	l := openLedger(t, databaseURL)
	l.loadUntil("the leader knows Redis, and events take effect", func() bool {
		var known bool
		l.scan(&known, "SELECT EXISTS (SELECT FROM outbox_queue_identity WHERE canary <> '')")
		return known && l.read().Sent >= 100
	})

	first.signal(syscall.SIGSTOP)
	stopped := time.Now()
	l.load(flushAfter)
	// No worker takes these tasks until the loss, which also ends the pause of their queue.
	client := openRedis(t, redis.URL())
	if err := client.Set(t.Context(), "asynq:{notifications}:paused", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	l.loadUntil("tasks wait in Redis", func() bool {
		return client.LLen(t.Context(), "asynq:{notifications}:pending").Val() >= 100
	})
	redis.Flush()
	l.loadUntil("the other relay leads", func() bool { return second.log.find("this process is the leader") != nil })
	led := time.Since(stopped)
	l.loadUntil("the lost events are sent again", func() bool { return second.log.find("events that Redis may have lost are in the outbox again") != nil })
	healed := time.Since(stopped)
	l.load(time.Until(stopped.Add(suspension)))
	first.signal(syscall.SIGCONT)
	resumed := time.Since(stopped)
	l.loadUntil("the old leader knows that it no longer leads", func() bool { return first.log.find("cannot lead") != nil })
	l.settle("after the leader was suspended")

	mails, repeats := countMails(t, dataDir)
	events := l.read().Users
	t.Logf("the leader was stopped for %v; another relay led after %v, and had put the lost events into the outbox after %v; %d events, lost %d, doubled %d",
		resumed.Round(time.Millisecond), led.Round(time.Millisecond), healed.Round(time.Millisecond), events, events-mails, repeats)
	if mails != events || repeats != 0 {
		t.Errorf("%d mails and %d repeats for %d events", mails, repeats, events)
	}
	if line := first.log.find("events that Redis may have lost"); line != nil {
		t.Errorf("the old leader sent events again, too: %v", line)
	}
	for _, p := range []*process{first, second, worker} {
		p.stop()
	}
}

// loadUntil produces events until a condition holds.
func (l ledger) loadUntil(what string, condition func() bool) {
	l.t.Helper()
	within(l.t, 2*patience, what, func() bool {
		l.produce(5)
		return condition()
	})
}
