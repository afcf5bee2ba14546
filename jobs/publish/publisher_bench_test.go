package publish_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/bench/distance"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/publish"
)

// BenchmarkEnqueue compares ways of handing a batch of 1,000 events to Redis
// over a unix socket and over a network. The way that outboxd takes is "lane";
// docs/explanation/benchmarks.md has its figures. An op is a batch.
func BenchmarkEnqueue(b *testing.B) {
	near, err := broker.ParseURL(servertest.Redis(b))
	if err != nil {
		b.Fatal(err)
	}
	const rtt = time.Millisecond
	proxy, _, far, err := distance.Redis(near, rtt/2)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			b.Error(err)
		}
	})
	emptying := near.MakeRedisClient().(*redis.Client)
	b.Cleanup(func() { _ = emptying.Close() })
	for _, to := range []struct {
		name string
		opt  asynq.RedisConnOpt
	}{{"rtt=0", near}, {"rtt=" + rtt.String(), far}} {
		for _, way := range []struct {
			name string
			open func(*testing.B, asynq.RedisConnOpt) func(context.Context, []domain.Event) []error
		}{
			{"one-by-one", goroutines(1)},
			{"goroutines=64", goroutines(64)},
			{"goroutines=256", goroutines(256)},
			{"autopipeline=256", autoPipeline(256)},
			{"autopipeline=1024", autoPipeline(1024)},
			{"lane", lane},
		} {
			b.Run(to.name+"/"+way.name, func(b *testing.B) {
				enqueue := way.open(b, to.opt)
				measureEnqueue(b, emptying, enqueue)
			})
		}
	}
}

// numbers gives each event a new number, so that no two batches of a benchmark use the same task
// IDs.
type numbers struct{ next uint64 }

func (n *numbers) renew(events []domain.Event) {
	for i := range events {
		n.next++
		binary.BigEndian.PutUint64(events[i].ID[8:], n.next)
		events[i].ID[8] = 0x80
	}
}

func measureEnqueue(b *testing.B, emptying *redis.Client, enqueue func(context.Context, []domain.Event) []error) {
	b.Helper()
	const batch, kept = 1000, 100 // events of a batch; batches until Redis, with 60 MB then, is emptied
	events := make([]domain.Event, batch)
	for i := range events {
		events[i] = domain.Event{ID: domain.ID{0x01, 6: 0x70}, Type: "bench:event", Queue: "default", Payload: []byte(strings.Repeat("x", 200))}
	}
	var ids numbers
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		b.StopTimer()
		if n%kept == 0 {
			if err := emptying.FlushDB(b.Context()).Err(); err != nil {
				b.Fatal(err)
			}
		}
		ids.renew(events)
		b.StartTimer()
		if err := errors.Join(enqueue(b.Context(), events)...); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "events/s")
	if got, want := emptying.LLen(b.Context(), "asynq:{default}:pending").Val(), int64((b.N-1)%kept+1)*batch; got != want {
		b.Fatalf("%d tasks in Redis, want %d", got, want)
	}
}

// lane sends as outboxd does: one pipeline for a batch.
func lane(b *testing.B, opt asynq.RedisConnOpt) func(context.Context, []domain.Event) []error {
	b.Helper()
	publisher := publish.New(newRedis(b, opt, 2))
	return func(ctx context.Context, events []domain.Event) []error {
		receipts := publisher.Publish(ctx, events)
		failures := make([]error, len(receipts))
		for i := range receipts {
			failures[i] = receipts[i].Failure()
		}
		return failures
	}
}

func newRedis(b *testing.B, opt asynq.RedisConnOpt, connections int) *broker.Redis {
	b.Helper()
	handle, err := broker.New(opt, connections)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = handle.Close() })
	return handle
}

// goroutines enqueues through Asynq's client from n goroutines, each with its
// own connection.
func goroutines(n int) func(*testing.B, asynq.RedisConnOpt) func(context.Context, []domain.Event) []error {
	return func(b *testing.B, opt asynq.RedisConnOpt) func(context.Context, []domain.Event) []error {
		b.Helper()
		return share(asynq.NewClientFromRedisClient(newRedis(b, opt, n).Client()), n)
	}
}

// autoPipeline does the same as goroutines, through a client of go-redis that by itself gathers the
// commands of many goroutines into pipelines.
func autoPipeline(n int) func(*testing.B, asynq.RedisConnOpt) func(context.Context, []domain.Event) []error {
	return func(b *testing.B, opt asynq.RedisConnOpt) func(context.Context, []domain.Event) []error {
		b.Helper()
		client := opt.MakeRedisClient().(*redis.Client)
		b.Cleanup(func() { _ = client.Close() })
		pipelining, err := client.AutoPipeline()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = pipelining.Close() })
		return share(asynq.NewClientFromRedisClient(pipelining), n)
	}
}

// share lets this many goroutines enqueue a batch through one client.
func share(client *asynq.Client, goroutines int) func(context.Context, []domain.Event) []error {
	return func(ctx context.Context, events []domain.Event) []error {
		results := make([]error, len(events))
		next := make(chan int, len(events))
		for i := range events {
			next <- i
		}
		close(next)
		var all sync.WaitGroup
		for range goroutines {
			all.Go(func() {
				for i := range next {
					e := &events[i]
					task := asynq.NewTaskWithHeaders(e.Type, e.Payload, e.Headers)
					if _, err := client.EnqueueContext(ctx, task, asynq.TaskID(e.TaskID()), asynq.Queue(e.Queue)); err != nil {
						results[i] = fmt.Errorf("event %d: %w", i, err)
					}
				}
			})
		}
		all.Wait()
		return results
	}
}
