package inspect_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
)

// While one master of a cluster is away, the queues of the others are measured. Otherwise a full queue of another
// master would not open again.
func TestQueuesOfOtherMastersAreMeasured(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, false)
	owner := func(queue string) *redistest.Program { return cluster.OwnerOf(broker.PendingKey(queue)) }
	away, there := "q0", ""
	for n := 1; there == ""; n++ {
		if name := fmt.Sprintf("q%d", n); owner(name) != owner(away) {
			there = name
		}
	}
	overviews := inspect.NewOverviews(open(t, cluster.URL()))
	queues := []string{away, there}
	if lengths, err := overviews.Lengths(t.Context(), queues); err != nil || len(lengths) != 2 {
		t.Fatalf("all queues: %v, %v", lengths, err)
	}
	if err := cluster.Client().LPush(t.Context(), broker.PendingKey(there), "task").Err(); err != nil {
		t.Fatal(err)
	}
	master := owner(away)
	master.Kill()
	servertest.Eventually(t, "the queue of the master that is there is measured", func() bool {
		lengths, err := overviews.Lengths(t.Context(), queues)
		_, measured := lengths[away]
		return err == nil && !measured && lengths[there] == 1
	})
	if lengths, err := overviews.Lengths(t.Context(), queues[:1]); err == nil {
		t.Errorf("of the queue of a master that is away: %v", lengths)
	}
	master.Start()
	servertest.Eventually(t, "go-redis has stopped dialling the master that was away", func() bool {
		stacks := make([]byte, 1<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("tryDial"))
	})
}
