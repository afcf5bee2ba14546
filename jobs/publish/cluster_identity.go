package publish

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/jobs/broker"
)

// identifyCluster joins the identities of a cluster's masters into one. If the run ID of one master changes, or one
// canary is missing, the whole identity has changed. A resharding that changes which nodes are masters counts as a
// change too. Events are then sent again, which is harmless.
func (p *Publisher) identifyCluster(ctx context.Context, name string) (lost.QueueIdentity, error) {
	masters, err := p.handle.Masters(ctx)
	if err != nil {
		return lost.QueueIdentity{}, broker.Unavailable(identifying, err)
	}
	var runs, lines []string
	for _, master := range masters {
		run, line, err := identifyMaster(ctx, master)
		if err != nil {
			return lost.QueueIdentity{}, err
		}
		runs, lines = append(runs, run), append(lines, line)
	}
	canary, err := p.clusterCanary(ctx, name)
	if err != nil {
		return lost.QueueIdentity{}, err
	}
	return lost.QueueIdentity{RunID: broker.Joined(runs), ReplicationID: broker.Joined(lines), Canary: canary}, nil
}

func identifyMaster(ctx context.Context, master redis.UniversalClient) (run, line string, err error) {
	var server, replication *redis.StringCmd
	_, err = master.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		server, replication = pipe.Info(ctx, "server"), pipe.Info(ctx, "replication")
		return nil
	})
	for _, section := range []*redis.StringCmd{server, replication} {
		if reply := section.Err(); reply != nil && !broker.IsWithheld(reply) {
			return "", "", broker.Unavailable(identifying, err)
		}
	}
	state := broker.ParseInfo(replication.Val())
	if role := state["role"]; role != "" && role != "master" {
		return "", "", domain.Errorf(domain.CodeUnavailable, "a node of the Redis Cluster is a %s at the moment and takes no tasks", role)
	}
	return broker.ParseInfo(server.Val())["run_id"], state["master_replid"], nil
}

// clusterCanary reads the canaries of all masters. It returns "" if one is missing. If they differ, it returns one
// that differs from the last canary that this process wrote.
func (p *Publisher) clusterCanary(ctx context.Context, name string) (string, error) {
	keys := p.handle.CanaryKeys(name)
	read := make([]*redis.StringCmd, len(keys))
	_, _ = p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each answer has its own error
		for i, key := range keys {
			read[i] = pipe.Get(ctx, key)
		}
		return nil
	})
	written, _ := p.canary.Load().(string)
	found := ""
	for _, answer := range read {
		switch value, err := answer.Result(); {
		case errors.Is(err, redis.Nil):
			return "", nil
		case err != nil:
			return "", broker.Unavailable(identifying, err)
		case found == "" || found == written:
			found = value
		}
	}
	return found, nil
}
