package publish

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// shard has the events of a batch that go to one master of a cluster.
type shard struct {
	client redis.UniversalClient
	places []int // indexes of its events in the whole batch
	events []domain.Event
}

// shards groups the given events of a batch by the master that has their queue at present. If the master of a queue
// cannot be found, that error goes into the receipts of the queue's events.
func (p *Publisher) shards(ctx context.Context, events []domain.Event, places []int, receipts []domain.Receipt) []*shard {
	var all []*shard
	of := map[string]*shard{}
	for _, i := range places {
		queue := events[i].Queue
		s := of[queue]
		if s == nil {
			client, err := p.handle.Shard(ctx, queue)
			if err != nil {
				receipts[i] = unanswered(err)
				continue
			}
			if n := slices.IndexFunc(all, func(s *shard) bool { return s.client == client }); n >= 0 {
				s = all[n]
			} else {
				s = &shard{client: client}
				all = append(all, s)
			}
			of[queue] = s
		}
		s.places, s.events = append(s.places, i), append(s.events, events[i])
	}
	return all
}

// If a queue has just moved to another master, its events are sent again to that master. followed bounds the
// rounds, followPause is the first pause between them. A slot that takes longer to move counts as an outage of its
// queues.
const (
	followed    = 4
	followPause = 50 * time.Millisecond
)

// publishToCluster sends each master the events of its queues, to all masters at the same time. It returns when
// the slowest master has answered or timed out.
func (p *Publisher) publishToCluster(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts := make([]domain.Receipt, len(events))
	places := make([]int, len(events))
	for i := range places {
		places[i] = i
	}
	for n := range followed {
		var sent sync.WaitGroup
		for _, s := range p.shards(ctx, events, places, receipts) {
			sent.Go(func() {
				for n, receipt := range p.publishTo(ctx, s.client, s.events) {
					receipts[s.places[n]] = receipt
				}
			})
		}
		sent.Wait()
		places = slices.DeleteFunc(places, func(i int) bool {
			return receipts[i].Answer != domain.Unanswered || !broker.IsRedirect(receipts[i].Err)
		})
		if len(places) == 0 {
			break
		}
		p.handle.Moved(ctx)
		if !broker.Pause(ctx, followPause<<n) {
			break
		}
	}
	p.narrowToQueues(ctx, events, receipts)
	return receipts
}

// narrowToQueues handles events without an answer. If at least one master of the cluster works, narrowToQueues
// marks the outage as one of the events' queues, and not of the whole cluster.
func (p *Publisher) narrowToQueues(ctx context.Context, events []domain.Event, receipts []domain.Receipt) {
	lost := func(r domain.Receipt) bool { return r.Answer == domain.Unanswered }
	if !slices.ContainsFunc(receipts, lost) {
		return
	}
	p.handle.Moved(ctx) // another master may have taken over
	if !slices.ContainsFunc(receipts, func(r domain.Receipt) bool { return !lost(r) }) && p.pingAny(ctx) != nil {
		return
	}
	for i := range receipts {
		if r := &receipts[i]; lost(*r) {
			if _, known := errors.AsType[*domain.QueueOutage](r.Err); !known {
				r.Err = &domain.QueueOutage{Queue: events[i].Queue, Err: r.Err}
			}
		}
	}
}

// pingAny returns nil if at least one master of the cluster answers.
func (p *Publisher) pingAny(ctx context.Context) error {
	masters, err := p.handle.Masters(ctx)
	if err != nil {
		return broker.Unavailable("find the masters of the cluster", err)
	}
	answers := make(chan error, len(masters))
	for _, master := range masters {
		go func() { answers <- master.Ping(ctx).Err() }()
	}
	err = errors.New("the cluster has no master")
	for range masters {
		if err = <-answers; err == nil {
			return nil
		}
	}
	return broker.Unavailable("probe the masters of the cluster", err)
}
