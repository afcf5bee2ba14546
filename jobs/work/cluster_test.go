package work_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest/redistest"
	"outboxd/client/pipeline"
)

// If a master of a cluster does not know the script yet, for example after a failover, no task is lost that another
// master gave out in the same round.
func TestAMasterWithoutTheScriptLosesNoTaskOfAnother(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, false)
	client := cluster.Client()
	knows, forgets := "a0", ""
	for n := 1; forgets == ""; n++ {
		if name := fmt.Sprintf("a%d", n); cluster.OwnerOf("asynq:{"+name+"}:pending") != cluster.OwnerOf("asynq:{"+knows+"}:pending") {
			forgets = name
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	direct := pipeline.Direct(client)
	defer direct.Close()
	// With so many places, each queue has a share of them.
	piped := pipeline.New(ctx, pipeline.Options{
		Redis: client, Direct: direct, Every: time.Millisecond, Concurrency: 64, Queues: map[string]int{knows: 1, forgets: 1},
	})
	defer piped.Release()
	defer stop()
	a := &asker{bed: &bed{T: t}, Client: piped}
	if _, err := a.ask(knows); err != redis.Nil { //nolint:errorlint // as Asynq compares it
		t.Fatal(err)
	}
	// Now all masters know the script.
	owner := redis.NewClient(&redis.Options{Addr: cluster.OwnerOf("asynq:{" + forgets + "}:pending").Address()})
	defer owner.Close()
	if err := owner.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, queue := range []string{knows, forgets} {
		if _, err := asynq.NewClientFromRedisClient(client).EnqueueContext(t.Context(), asynq.NewTask("test:a", nil), asynq.Queue(queue)); err != nil {
			t.Fatal(err)
		}
	}
	a.mustAsk(knows)
	a.mustAsk(forgets)
}
