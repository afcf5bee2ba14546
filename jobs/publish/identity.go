package publish

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/jobs/broker"
)

var _ lost.IdentifiedQueue = (*Publisher)(nil)

// What errors say was tried.
const (
	identifying = "look which Redis this is"
	renewing    = "renew the canary"
)

// Identify implements lost.IdentifiedQueue. Where INFO is forbidden, or
// unknown as to the in-process Redis, the canary has to do.
func (p *Publisher) Identify(ctx context.Context, name string) (lost.QueueIdentity, error) {
	var server, replication, canary, again *redis.StringCmd
	// One pipeline is one connection, so the answers are of one process.
	_, err := p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		server, replication, canary = pipe.Info(ctx, "server"), pipe.Info(ctx, "replication"), pipe.Get(ctx, broker.CanaryKey(name))
		// A wrong answer about the canary would send everything again.
		again = pipe.GetRange(ctx, broker.CanaryKey(name), 0, -1)
		return nil
	})
	for _, section := range []*redis.StringCmd{server, replication} {
		if reply := section.Err(); reply != nil && !broker.IsWithheld(reply) {
			return lost.QueueIdentity{}, broker.Unavailable(identifying, err)
		}
	}
	if reply := canary.Err(); reply != nil && !errors.Is(reply, redis.Nil) {
		return lost.QueueIdentity{}, broker.Unavailable(identifying, reply)
	}
	if again.Err() == nil && again.Val() != canary.Val() {
		return lost.QueueIdentity{}, broker.Unavailable(identifying, broker.UnexpectedReply{To: "GET", Reply: canary.Val()})
	}
	state := broker.ParseInfo(replication.Val())
	if role := state["role"]; role != "" && role != "master" {
		return lost.QueueIdentity{}, domain.Errorf(domain.CodeUnavailable, "Redis is a %s at the moment and takes no tasks", role)
	}
	return lost.QueueIdentity{
		RunID:         broker.ParseInfo(server.Val())["run_id"],
		ReplicationID: state["master_replid"],
		Canary:        canary.Val(),
	}, nil
}

// Mark implements lost.IdentifiedQueue.
func (p *Publisher) Mark(ctx context.Context, name, next string) error {
	if err := p.redis.Set(ctx, broker.CanaryKey(name), next, 0).Err(); err != nil {
		return broker.Unavailable("write the canary", err)
	}
	return nil
}

// A Redis that was emptied since the canary was read must not get a new one as
// if nothing had happened.
const advanceScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`

// Advance implements lost.IdentifiedQueue.
func (p *Publisher) Advance(ctx context.Context, name, known, next string) (bool, error) {
	// A number that is not the script's would count as a yes, and the next look
	// would take the old canary for a loss.
	switch answer, err := p.redis.Eval(ctx, advanceScript, []string{broker.CanaryKey(name)}, known, next).Result(); {
	case err != nil:
		return false, broker.Unavailable(renewing, err)
	case answer == int64(1):
		return true, nil
	case answer == int64(0):
		return false, nil
	default:
		return false, broker.Unavailable(renewing, broker.UnexpectedReply{To: "the renewal of the canary", Reply: answer})
	}
}

// Renew implements lost.IdentifiedQueue: what Asynq's clients remember of the
// queues that Redis knows is forgotten.
func (p *Publisher) Renew() { p.renewed.Add(1) }
