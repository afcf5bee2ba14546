package app_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/jobs/broker"
)

// TestRedisCluster runs everything on a cluster of three masters with replicas: the
// master of the queue loses its data, the slot of the queue moves while events pass, and
// its master dies. What only the other masters have is not sent again.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, true)
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
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	sparedQueue := ""
	for n := 0; sparedQueue == ""; n++ {
		if name := fmt.Sprintf("spared-%d", n); cluster.OwnerOf(broker.PendingKey(name)) != owner {
			sparedQueue = name
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT outboxd.emit('test:spared', '{}'::jsonb, queue => $1) FROM generate_series(1, 5)", sparedQueue); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other tasks are in the cluster", func() bool { return redis.LLen(t.Context(), broker.PendingKey(sparedQueue)).Val() == 5 })
	for _, path := range []string{"", "api/queues", "api/queues/notifications", "api/queues/notifications/pending_tasks", "api/queues/notifications/completed_tasks", "api/servers", "api/queue_stats", "api/redis_info"} {
		status, text := get(t, p.monitor+"/monitoring/tasks/"+path)
		if status != http.StatusOK || strings.HasPrefix(path, "api/queues") && path != "api/queues/notifications/completed_tasks" && !strings.Contains(text, "notifications") {
			t.Errorf("Asynqmon's %q on a cluster: %d %.200s", path, status, text)
		}
	}
	cluster.Flush(owner)
	eventually(t, "what one master lost is sent again", func() bool { return redis.LLen(t.Context(), pending).Val() == 5 })

	worker := start(t, append(on(databaseURL, cluster.URL(), dataDir), "--roles=worker", "--example=on", "--monitor-addr=127.0.0.1:0")...)
	for _, id := range ids {
		awaitSent(t, p.api, id)
	}
	again := func(query string) (n int) {
		if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := again("SELECT count(*) FROM outboxd.outbox_journal WHERE entry = 'redriven'"); n < 5 {
		t.Errorf("%d events were sent again, want the five that were lost", n)
	}
	if n := again("SELECT count(*) FROM outboxd.outbox_journal j JOIN outboxd.outbox_sent s ON s.id = j.event_id WHERE entry = 'redriven' AND event_type = 'test:spared'"); n != 0 {
		t.Errorf("%d events of a master that lost nothing were sent again", n)
	}
	from := len(ids)
	for n := range 4 {
		add(3)
		cluster.MoveSlot(pending, cluster.Masters[(owned(cluster, owner)+n)%3], cluster.Masters[(owned(cluster, owner)+n+1)%3])
	}
	for _, id := range ids[from:] {
		awaitSent(t, p.api, id)
	}
	cluster.Masters[(owned(cluster, owner)+4)%3].Kill()
	from = len(ids)
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

// owned returns the place of a master in its cluster.
func owned(c *redistest.Cluster, master *redistest.Program) int {
	return slices.Index(c.Masters, master)
}
