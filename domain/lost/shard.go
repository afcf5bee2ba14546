package lost

import (
	"slices"
	"strings"
)

// Shard is a master of a Redis Cluster and the slots that it has.
type Shard struct {
	RunID, ReplicationID string // as in QueueIdentity
	Slots                Slots
}

func (s Shard) id() string { return s.RunID + "/" + s.ReplicationID }

// JoinShards returns the value of QueueIdentity.Shards for the masters of a cluster. It does not depend on their order.
func JoinShards(shards []Shard) string {
	texts := make([]string, 0, len(shards))
	for _, s := range shards {
		texts = append(texts, s.id()+"="+s.Slots.String())
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// splitShards reads what JoinShards wrote. ok is false if there are no shards, or if one of them lacks an ID or is
// malformed.
func splitShards(text string) (shards []Shard, ok bool) {
	for one := range strings.FieldsSeq(text) {
		id, ranges, _ := strings.Cut(one, "=")
		run, line, _ := strings.Cut(id, "/")
		slots, ok := ParseSlots(ranges)
		if !ok || run == "" || line == "" {
			return nil, false
		}
		shards = append(shards, Shard{RunID: run, ReplicationID: line, Slots: slots})
	}
	return shards, len(shards) > 0
}

// LostSlots returns the slots of a cluster whose data may be lost, if the identity of the cluster is i now and was
// the given one before. The result narrow is false if the loss cannot be narrowed to slots: then all data may be
// lost.
//
// A slot that moved from one known master to another is not lost, unless canaries are missing. The slots of a master
// that was not known before count as lost, because it may have taken over from a master without that master's last
// writes. The slots of a master that is gone are lost too.
func (i QueueIdentity) LostSlots(known QueueIdentity) (lost Slots, narrow bool) {
	now, readable := splitShards(i.Shards)
	was, before := splitShards(known.Shards)
	gone, ok := ParseSlots(i.Gone)
	if !readable || !before || !ok || i.Canary != known.Canary {
		return Slots{}, false
	}
	addOf := func(shards []Shard, id string) {
		for n := range shards {
			if shards[n].id() == id {
				lost.addAll(&shards[n].Slots)
			}
		}
	}
	// If a canary is missing, the master that has its slot may have lost its data, and so may the master that had the
	// slot before, because it may have lost its data before the slot moved.
	doubt := func(shards, others []Shard) {
		for n := range shards {
			s := &shards[n]
			strange := !slices.ContainsFunc(others, func(o Shard) bool { return o.id() == s.id() })
			if strange || overlap(&s.Slots, &gone) {
				lost.addAll(&s.Slots)
				addOf(others, s.id())
			}
		}
	}
	doubt(now, was)
	doubt(was, now)
	for i, word := range gone {
		if word&^lost[i] != 0 {
			return Slots{}, false // no known master has the slot of a missing canary
		}
	}
	return lost, true
}

func overlap(a, b *Slots) bool {
	for i := range a {
		if a[i]&b[i] != 0 {
			return true
		}
	}
	return false
}
