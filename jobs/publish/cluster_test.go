package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/jobs/broker"
	"outboxd/jobs/jobstest"
	"outboxd/jobs/publish"
)

// clusterQueues returns a queue of each master.
func clusterQueues(c *redistest.Cluster) []string {
	queues := make([]string, len(c.Masters))
	for n := 0; ; n++ {
		full := true
		for i, master := range c.Masters {
			if name := fmt.Sprintf("q%d", n); c.OwnerOf(broker.PendingKey(name)) == master && queues[i] == "" {
				queues[i] = name
			}
			full = full && queues[i] != ""
		}
		if full {
			return queues
		}
	}
}

func eventsFor(queues []string, from, n int) []domain.Event {
	events := jobstest.Events(from + n)[from:]
	for i := range events {
		events[i].Queue = queues[i%len(queues)]
	}
	return events
}

// TestCluster publishes to a cluster of three masters: through a move of a slot, the loss of one
// master's data and a master that is away.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, false)
	queues := clusterQueues(cluster)
	p := publish.New(jobstest.OpenRedis(t, cluster.URL()))
	admin := cluster.Client()
	want := func(when string, receipts []domain.Receipt, answer domain.Answer) {
		t.Helper()
		for i, r := range receipts {
			if r.Answer != answer {
				t.Fatalf("%s, event %d: %v (%v), want %v", when, i, r.Answer, r.Err, answer)
			}
		}
	}
	want("at first", p.Publish(t.Context(), eventsFor(queues, 0, 30)), domain.Accepted)
	want("again", p.Publish(t.Context(), eventsFor(queues, 0, 30)), domain.AlreadyThere)
	for _, queue := range queues {
		if n := admin.LLen(t.Context(), broker.PendingKey(queue)).Val(); n != 10 {
			t.Errorf("queue %s has %d tasks, want 10", queue, n)
		}
	}
	if names := admin.SMembers(t.Context(), broker.QueuesKey).Val(); len(names) != 3 {
		t.Errorf("Redis knows the queues %v, want all three", names)
	}

	if err := p.Mark(t.Context(), "test", "first"); err != nil {
		t.Fatal(err)
	}
	was, err := p.Identify(t.Context(), "test")
	if err != nil || was.Canary != "first" || was.Shards == "" {
		t.Fatalf("identified as %+v (%v)", was, err)
	}
	if ok, err := p.Advance(t.Context(), "test", "first", "second"); err != nil || !ok {
		t.Fatalf("the canary is not renewed: %v, %v", ok, err)
	}

	cluster.MoveSlot(broker.PendingKey(queues[0]), cluster.Masters[0], cluster.Masters[1])
	want("after a move", p.Publish(t.Context(), eventsFor(queues, 30, 30)), domain.Accepted)
	moved, err := p.Identify(t.Context(), "test")
	if err != nil || moved.Canary != "second" || moved.Gone != "" || moved.Shards == was.Shards {
		t.Errorf("after a move identified as %+v (%v), want the canary", moved, err)
	}
	was.Canary = "second"
	if reason := moved.Change(was); reason != "" {
		t.Errorf("a slot that moved counts as a loss: %s", reason)
	}

	may := func(right string) {
		t.Helper()
		if err := admin.ForEachMaster(t.Context(), func(ctx context.Context, master *redis.Client) error {
			return master.Do(ctx, "ACL", "SETUSER", "default", right).Err()
		}); err != nil {
			t.Fatal(err)
		}
	}
	may("-cluster|myid")
	less, err := p.Identify(t.Context(), "test")
	if err != nil || less.Shards != "" || less.RunID == "" || less.RunID != moved.RunID || less.ReplicationID != moved.ReplicationID {
		t.Errorf("without CLUSTER MYID identified as %+v (%v), want the IDs of %+v", less, err, moved)
	}
	may("+cluster|myid")

	cluster.Flush(cluster.Masters[2])
	is, err := p.Identify(t.Context(), "test")
	if slots, narrow := is.LostSlots(moved); err != nil || !narrow || slots.Has(lost.SlotOf(queues[0])) || slots.Has(lost.SlotOf(queues[1])) || !slots.Has(lost.SlotOf(queues[2])) {
		t.Errorf("after one master lost its data identified as %+v (%v), and lost are the slots %s (%v)", is, err, slots.String(), narrow)
	}

	cluster.Masters[2].Kill()
	var receipts []domain.Receipt
	servertest.Eventually(t, "the queues of the other masters go on", func() bool {
		receipts = p.Publish(t.Context(), eventsFor(queues, 60, 30))
		return receipts[0].Received() && receipts[1].Received()
	})
	for i, r := range receipts {
		outage, one := errors.AsType[*domain.QueueOutage](r.Err)
		if away := i%3 == 2; away != (r.Answer == domain.Unanswered) || away && (!one || outage.Queue != queues[2]) {
			t.Errorf("while the third master is away, event %d of queue %s: %v (%v)", i, eventsFor(queues, 60, 30)[i].Queue, r.Answer, r.Err)
		}
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Errorf("the cluster counts as away: %v", err)
	}
	if p.PingQueue(t.Context(), queues[2]) == nil || p.PingQueue(t.Context(), queues[1]) != nil {
		t.Error("the probe of a queue does not ask its own master")
	}
	cluster.Masters[2].Start()
	servertest.Eventually(t, "the queue of the third master goes on", func() bool { return p.Publish(t.Context(), eventsFor(queues, 90, 3))[2].Received() })
	servertest.Eventually(t, "go-redis has stopped dialling the master that was away", func() bool {
		stacks := make([]byte, 1<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("tryDial"))
	})
}
