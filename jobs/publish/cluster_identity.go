package publish

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/jobs/broker"
)

// identifyCluster returns which masters the cluster has, with their slots, and the canary. The run IDs and the
// replication IDs of all masters are joined. If this user may not ask a master for its slots, the identity has no
// shards; then outboxd cannot distinguish a loss of one master from a loss of all.
func (p *Publisher) identifyCluster(ctx context.Context, name string) (lost.QueueIdentity, error) {
	masters, err := p.handle.Masters(ctx)
	if err != nil {
		return lost.QueueIdentity{}, broker.Unavailable(identifying, err)
	}
	var runs, lines []string
	var shards []lost.Shard
	for _, master := range masters {
		shard, narrow, err := identifyMaster(ctx, master)
		if err != nil {
			p.handle.Moved(ctx) // a replica may have taken over
			return lost.QueueIdentity{}, err
		}
		runs, lines = append(runs, shard.RunID), append(lines, shard.ReplicationID)
		if narrow {
			shards = append(shards, shard)
		}
	}
	identity := lost.QueueIdentity{RunID: joined(runs), ReplicationID: joined(lines)}
	if len(shards) == len(masters) {
		identity.Shards = lost.JoinShards(shards)
	}
	identity.Canary, identity.Gone, err = p.clusterCanary(ctx, name)
	return identity, err
}

// joined joins the IDs of all masters. joined returns "" if a master did not tell its ID.
func joined(ids []string) string {
	if slices.Contains(ids, "") {
		return ""
	}
	return broker.Joined(ids)
}

// identifyMaster asks a master which process it is and which slots it has. The result narrow says whether shard.Slots
// is known, so that a loss can be narrowed to these slots. narrow is false if the user may not run CLUSTER MYID or
// CLUSTER SLOTS.
func identifyMaster(ctx context.Context, master redis.UniversalClient) (shard lost.Shard, narrow bool, err error) {
	var server, replication *redis.StringCmd
	var id *redis.Cmd
	var slots *redis.ClusterSlotsCmd
	_, err = master.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		server, replication = pipe.Info(ctx, "server"), pipe.Info(ctx, "replication")
		id, slots = pipe.Do(ctx, "CLUSTER", "MYID"), pipe.ClusterSlots(ctx)
		return nil
	})
	for _, section := range []*redis.StringCmd{server, replication} {
		if reply := section.Err(); reply != nil && !broker.IsWithheld(reply) {
			return shard, false, broker.Unavailable(identifying, err)
		}
	}
	for _, reply := range []error{id.Err(), slots.Err()} {
		if reply != nil && !broker.IsWithheld(reply) {
			return shard, false, broker.Unavailable(identifying, reply)
		}
	}
	state := broker.ParseInfo(replication.Val())
	if role := state["role"]; role != "" && role != "master" {
		return shard, false, domain.Errorf(domain.CodeUnavailable, "a node of the Redis Cluster is a %s at the moment and takes no tasks", role)
	}
	shard.RunID, shard.ReplicationID = broker.ParseInfo(server.Val())["run_id"], state["master_replid"]
	for _, one := range slots.Val() {
		if len(one.Nodes) > 0 && one.Nodes[0].ID == id.Val() {
			shard.Slots.Add(one.Start, one.End)
		}
	}
	return shard, id.Err() == nil && slots.Err() == nil, nil
}

// clusterCanary reads the canaries of all masters, and returns their value and the slots in which one is missing. If
// all are missing, the value is "". If the masters have different values, clusterCanary returns one that differs
// from the canary of this process's last Advance.
func (p *Publisher) clusterCanary(ctx context.Context, name string) (canary, gone string, err error) {
	keys := p.handle.CanaryKeys(name)
	read := make([]*redis.StringCmd, len(keys))
	_, _ = p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each answer has its own error
		for i, key := range keys {
			read[i] = pipe.Get(ctx, key)
		}
		return nil
	})
	written, _ := p.canary.Load().(string)
	var missing lost.Slots
	for i, answer := range read {
		switch value, err := answer.Result(); {
		case errors.Is(err, redis.Nil):
			slot := lost.SlotOf(broker.QueueOf(keys[i]))
			missing.Add(slot, slot)
		case err != nil:
			return "", "", broker.Unavailable(identifying, err)
		case canary == "" || canary == written:
			canary = value
		}
	}
	return canary, missing.String(), nil
}
