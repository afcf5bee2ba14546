package app_test

import (
	"fmt"
	"testing"

	"outboxd/app/servertest"
	"outboxd/jobs/broker"
)

// TestRedisCluster runs everything on a cluster of three masters with replicas: the
// master of the queue loses its data, and then dies.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	cluster := servertest.StartRedisCluster(t, true)
	redis, databaseURL, dataDir := cluster.Client(), servertest.Database(t), t.TempDir()
	pending := broker.PendingKey("notifications")
	p := start(t, append(on(databaseURL, cluster.URL(), dataDir), "--roles=api,relay,monitor", "--redis-check-interval=200ms")...)
	var ids []string
	add := func(n int) {
		for range n {
			ids = append(ids, register(t, p.api, fmt.Sprintf("user%d@example.com", len(ids))))
		}
	}
	add(5)
	eventually(t, "the tasks are in the cluster", func() bool { return redis.LLen(t.Context(), pending).Val() == 5 })
	p.awaitLog("ready")
	owner := cluster.OwnerOf(pending)
	eventually(t, "the canaries are there", func() bool {
		keys, _ := redis.Keys(t.Context(), "asynq:{outboxd-*}:canary:*").Result()
		return len(keys) > 0
	})
	cluster.Flush(owner)
	eventually(t, "what one master lost is sent again", func() bool { return redis.LLen(t.Context(), pending).Val() == 5 })

	worker := start(t, append(on(databaseURL, cluster.URL(), dataDir), "--roles=worker", "--example=on", "--monitor-addr=127.0.0.1:0")...)
	for _, id := range ids {
		awaitSent(t, p.api, id)
	}
	owner.Kill()
	from := len(ids)
	add(5)
	for _, id := range ids[from:] {
		awaitSent(t, p.api, id)
	}
	if mails, repeats := countMails(t, dataDir); mails != len(ids) || repeats != 0 {
		t.Errorf("%d mails and %d repeats for %d users", mails, repeats, len(ids))
	}
	worker.stop()
	p.stop()
}
