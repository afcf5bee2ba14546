package relay_test

import (
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/jobs/inspect"
	"outboxd/jobs/retries"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository/search"
)

// The leader's metrics and samples leave out the queues of other programs on the same Redis.
func TestQueuesOfOthersAreNotMeasured(t *testing.T) {
	t.Parallel()
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	handle := openRedis(t, redisURL)
	f := newFixture(t, databaseURL, redisURL, func(o *relay.Options) {
		o.Queues = &lead.Queues{
			Overviews: inspect.NewOverviews(handle), Failing: retries.New(handle),
			Receivers: search.NewOverviews(schematest.Connect(t, databaseURL)).Receivers, Foreign: func() []string { return []string{"theirs"} },
		}
	})
	client := asynq.NewClientFromRedisClient(f.redis)
	for queue, tasks := range map[string]int{"ours": 2, "theirs": 40} {
		for range tasks {
			if _, err := client.EnqueueContext(t.Context(), asynq.NewTask("test:a", nil), asynq.Queue(queue)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_samples WHERE queued = 2")
	if n := f.counter("outboxd_relay_queue_tasks", "queue", "ours"); n < 0 {
		t.Errorf("%v tasks of ours", n)
	}
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "queue" && l.GetValue() == "theirs" {
					t.Errorf("%s counts the queue of another program", family.GetName())
				}
			}
		}
	}
}
