package pipeline

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// pipes are pipelines that are sent at the same time. If the queues may be on
// several servers, each queue has a pipeline of its own, so that an outage of one
// server does not lose the answers of another. Otherwise there is one pipeline.
type pipes struct {
	client redis.UniversalClient
	spread bool
	of     map[string]redis.Pipeliner // by queue; "" where there is one
}

func newPipes(client redis.UniversalClient) *pipes {
	return &pipes{client, isSpread(client), map[string]redis.Pipeliner{}}
}

// isSpread reports whether the queues may be on several Redis servers, as in a
// cluster.
func isSpread(client redis.UniversalClient) bool {
	_, single := client.(*redis.Client)
	return !single
}

// to returns the pipeline for a queue.
func (p *pipes) to(queue string) redis.Pipeliner {
	if !p.spread {
		queue = ""
	}
	if p.of[queue] == nil {
		p.of[queue] = p.client.Pipeline()
	}
	return p.of[queue]
}

// send sends all pipelines. Afterwards each command has its own reply or an error.
func (p *pipes) send(ctx context.Context) {
	var sent sync.WaitGroup
	for _, pipe := range p.of {
		if len(p.of) == 1 {
			send(ctx, pipe)
			return
		}
		sent.Go(func() { send(ctx, pipe) })
	}
	sent.Wait()
}
