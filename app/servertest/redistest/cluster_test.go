package redistest_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

// A script of Asynq counts a finished task in processed:<date>. Two masters can get this key, so that MIGRATE answers
// BUSYKEY. A move alone does not cause this: while the slot moves, a script that lacks some of its keys is told
// TRYAGAIN on both masters, also after ASK. But a replica does not know of a move that its master began. If the master
// dies, the replica has the slot as if nothing moved, lacks the keys that moved already, and lets the script count from
// the beginning.
func TestAMoveThatAFailoverInterruptsLeavesAKeyOnTwoMasters(t *testing.T) {
	t.Parallel()
	const task, processed = "asynq:{mail}:t:1", "asynq:{mail}:processed:2026-01-02"
	finish := redis.NewScript(`redis.call("DEL", KEYS[1]) return redis.call("INCR", KEYS[2])`)
	cluster := redistest.StartCluster(t, true)
	anyone := cluster.Client()
	owner, others := cluster.HolderOf(processed)
	for _, key := range []string{task, processed} {
		if err := anyone.Set(t.Context(), key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.BeginMove(processed, owner, others[0]); err != nil {
		t.Fatal(err)
	}
	old, imports := servertest.Client(t, "redis://"+owner.Address()), servertest.Client(t, "redis://"+others[0].Address())
	if err := old.Del(t.Context(), processed).Err(); err == nil || !strings.HasPrefix(err.Error(), "ASK") {
		t.Fatalf("the key has not moved: %v", err)
	}
	answers, _ := imports.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.Do(t.Context(), "ASKING")
		finish.Eval(t.Context(), pipe, []string{"asynq:{mail}:t:2", processed})
		return nil
	})
	if err := answers[1].Err(); err == nil || !strings.HasPrefix(err.Error(), "TRYAGAIN") {
		t.Errorf("a script that lacks a key ran on the importing master: %v", err)
	}

	owner.Kill()
	servertest.Eventually(t, "the replica has taken over, and counts again", func() bool {
		holder, _ := cluster.HolderOf(processed)
		return holder != nil && holder != owner && finish.Run(t.Context(), servertest.Client(t, "redis://"+holder.Address()), []string{task, processed}).Err() == nil
	})
	holder, _ := cluster.HolderOf(processed)
	servertest.Eventually(t, "the other masters know the new one, and the second move ends in BUSYKEY", func() bool {
		err := cluster.BeginMove(processed, holder, others[0])
		return err != nil && strings.Contains(err.Error(), "BUSYKEY")
	})
	owner.Start()
	cluster.Mend(processed)
	if n := anyone.Get(t.Context(), processed).Val(); n != "1" {
		t.Errorf("after mending the key is %q, want what the slot's master has", n)
	}
}
