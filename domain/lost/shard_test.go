package lost_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"outboxd/domain/lost"
)

// cluster returns the identity of a cluster whose masters have the given run IDs and slots.
func cluster(t *testing.T, gone string, masters ...[2]string) lost.QueueIdentity {
	t.Helper()
	var shards []lost.Shard
	for _, m := range masters {
		slots, ok := lost.ParseSlots(m[1])
		if !ok {
			t.Fatalf("%q are no slots", m[1])
		}
		shards = append(shards, lost.Shard{RunID: m[0], ReplicationID: "line", Slots: slots})
	}
	return lost.QueueIdentity{Canary: "c", Shards: lost.JoinShards(shards), Gone: gone}
}

func TestOnlyTheSlotsOfALostShardAreLost(t *testing.T) {
	t.Parallel()
	a, b, c := [2]string{"a", "0-99"}, [2]string{"b", "100-199"}, [2]string{"c", "200-299"}
	known := cluster(t, "", a, b, c)
	another := cluster(t, "", a, b, c)
	another.Canary = "other"
	silent := known
	silent.Shards = ""
	for name, test := range map[string]struct {
		now    lost.QueueIdentity
		slots  string
		narrow bool
	}{
		"the same":                        {cluster(t, "", c, a, b), "", true},
		"a slot moved":                    {cluster(t, "", [2]string{"a", "0-98"}, [2]string{"b", "99-199"}, c), "", true},
		"one restarted":                   {cluster(t, "", a, [2]string{"d", "100-199"}, c), "100-199", true},
		"one emptied":                     {cluster(t, "150", a, b, c), "100-199", true},
		"emptied before a slot moved":     {cluster(t, "199", a, [2]string{"b", "100-198"}, [2]string{"c", "199-299"}), "100-299", true},
		"one added":                       {cluster(t, "", a, b, [2]string{"c", "200-249"}, [2]string{"d", "250-299"}), "250-299", true},
		"one removed":                     {cluster(t, "", a, [2]string{"b", "100-299"}), "200-299", true},
		"one taken over by a known one":   {cluster(t, "", [2]string{"a", "0-99,200-299"}, b), "200-299", true},
		"another canary":                  {another, "", false},
		"it does not tell its slots":      {silent, "", false},
		"a canary is gone that none has":  {cluster(t, "300", a, b, c), "", false},
		"one moved while nobody answered": {cluster(t, "", a, b, [2]string{"c", "200-298"}), "", true},
	} {
		slots, narrow := test.now.LostSlots(known)
		if slots.String() != test.slots || narrow != test.narrow {
			t.Errorf("%s: lost %q (%v), want %q (%v)", name, slots.String(), narrow, test.slots, test.narrow)
		}
		if is := test.now.Change(known) != ""; is != (test.slots != "" || !test.narrow && name != "it does not tell its slots") {
			t.Errorf("%s counts as a loss: %v", name, is)
		}
	}
}

func TestSlotOf(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]int{"123456789": 12739, "foo": 12182} { // from Redis's specification and CLUSTER KEYSLOT
		if got := lost.SlotOf(tag); got != want {
			t.Errorf("the slot of %q is %d, want %d", tag, got, want)
		}
	}
}

// TestNoKindOfCheckHidesAFailover lets replicas take over and slots move between checks, while the user's rights change:
// a check may learn the shards, only the joined IDs, only the slots, or nothing. Every check that learns IDs must notice a
// failover since the last check that learned IDs, and must not take anything else for one.
func TestNoKindOfCheckHidesAFailover(t *testing.T) {
	t.Parallel()
	const seeds, checks = 200, 50
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 0))
		runs := []int{1, 2, 3}
		border := 100
		var known lost.QueueIdentity
		learned, failedOver := false, false
		for n := range checks {
			if random.IntN(3) == 0 {
				runs[random.IntN(3)] = 10 + n
				failedOver = true
			}
			if random.IntN(3) == 0 {
				border = 1 + random.IntN(198)
			}
			kind := random.IntN(4)
			seen := seenWith(kind, runs, border)
			learns := kind < 2
			want := learned && learns && failedOver
			if n > 0 {
				if reason := seen.Change(known); (reason != "") != want {
					t.Fatalf("seed %d, check %d of kind %d: %q, want a failover to be noticed: %v\nnow   %+v\nknown %+v", seed, n, kind, reason, want, seen, known)
				}
			}
			known = seen.Over(known)
			learned = learned || learns
			failedOver = failedOver && !learns
		}
	}
}

// seenWith returns what a check learns of three masters. Kind 0 learns their IDs and slots, 1 only the IDs, 2 only the
// slots, 3 neither.
func seenWith(kind int, runs []int, border int) lost.QueueIdentity {
	is := lost.QueueIdentity{Canary: "c"}
	var ids, lines []string
	shards := make([]lost.Shard, len(runs))
	shards[0].Slots.Add(0, border)
	shards[1].Slots.Add(border+1, 199)
	shards[2].Slots.Add(200, 299)
	for n, run := range runs {
		ids, lines = append(ids, fmt.Sprint("run-", run)), append(lines, fmt.Sprint("line-", run))
		if kind == 0 {
			shards[n].RunID, shards[n].ReplicationID = ids[n], lines[n]
		}
	}
	if kind == 0 || kind == 2 {
		is.Shards = lost.JoinShards(shards)
	}
	if kind < 2 {
		slices.Sort(ids)
		slices.Sort(lines)
		is.RunID, is.ReplicationID = strings.Join(ids, " "), strings.Join(lines, " ")
	}
	return is
}
