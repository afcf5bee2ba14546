package lost_test

import (
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
