package publish

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/jobs/broker"
)

var _ lost.IdentifiedQueue = (*Publisher)(nil)

// What was tried, for error texts.
const (
	identifying = "look which Redis this is"
	renewing    = "renew the canary"
)

// Identify implements lost.IdentifiedQueue. If INFO is forbidden, or unknown as in the in-process Redis, the
// identity is the canary alone.
func (p *Publisher) Identify(ctx context.Context, name string) (lost.QueueIdentity, error) {
	if p.handle.IsCluster() {
		return p.identifyCluster(ctx, name)
	}
	var server, replication, canary, again *redis.StringCmd
	// A pipeline uses one connection, so all answers come from one Redis process.
	_, err := p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		server, replication, canary = pipe.Info(ctx, "server"), pipe.Info(ctx, "replication"), pipe.Get(ctx, broker.CanaryKey(name))
		// The canary is read twice, so that a single wrong answer causes no needless heal.
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
	switch reply := again.Err(); {
	case reply == nil && again.Val() != canary.Val():
		return lost.QueueIdentity{}, broker.Unavailable(identifying, redisreply.Unexpected{To: "GET", Reply: canary.Val()})
	case reply != nil && !broker.IsWithheld(reply):
		return lost.QueueIdentity{}, broker.Unavailable(identifying, reply)
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

// IdentifyAnew implements lost.IdentifiedQueue.
func (p *Publisher) IdentifyAnew(ctx context.Context, name string) (lost.QueueIdentity, error) {
	anew := p.handle.Anew()
	defer func() { _ = anew.Close() }() // an error does not matter: nothing uses the handle any more
	other := New(anew)
	if written := p.canary.Load(); written != nil {
		other.canary.Store(written)
	}
	return other.Identify(ctx, name)
}

// Mark implements lost.IdentifiedQueue.
func (p *Publisher) Mark(ctx context.Context, name, next string) error {
	for _, key := range p.handle.CanaryKeys(name) {
		if err := p.redis.Set(ctx, key, next, 0).Err(); err != nil {
			return broker.Unavailable("write the canary", err)
		}
	}
	return nil
}

// advanceScript replaces the canary only if it has the known value. If Redis was emptied after the canary was read,
// the script must not write a new canary, because that would hide the loss.
//
// A cluster has several canaries. After an interrupted renewal some of the canaries may already have the next
// value.
const advanceScript = `
local is = redis.call('GET', KEYS[1])
if is == ARGV[2] and ARGV[3] == "again" then return 1 end
if is ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`

// Advance implements lost.IdentifiedQueue.
func (p *Publisher) Advance(ctx context.Context, name, known, next string) (bool, error) {
	p.canary.Store(next)
	intact := true
	for _, key := range p.handle.CanaryKeys(name) {
		one, err := p.advance(ctx, key, known, next)
		if err != nil {
			return false, err
		}
		intact = intact && one
	}
	return intact, nil
}

func (p *Publisher) advance(ctx context.Context, key, known, next string) (bool, error) {
	again := ""
	if p.handle.IsCluster() {
		again = "again"
	}
	// Only the script's own numbers count. If the answer were a false "yes", the next check would find the old
	// canary and take that for a loss.
	switch answer, err := p.redis.Eval(ctx, advanceScript, []string{key}, known, next, again).Result(); {
	case err != nil:
		return false, broker.Unavailable(renewing, err)
	case answer == int64(1):
		return true, nil
	case answer == int64(0):
		return false, nil
	default:
		return false, broker.Unavailable(renewing, redisreply.Unexpected{To: "the renewal of the canary", Reply: answer})
	}
}

// Renew implements lost.IdentifiedQueue: all lanes are replaced, so that Asynq's clients forget which queues they
// have already announced to Redis. In a cluster, this also drops the lanes of a master that is gone.
func (p *Publisher) Renew() {
	p.renewed.Add(1)
	p.lanes.Clear()
}
