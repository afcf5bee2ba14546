package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"outboxd/domain/lost"
)

// IsCluster reports whether Redis is a cluster. In a cluster, all keys of a queue are in
// one slot, so on one node.
func (r *Redis) IsCluster() bool {
	_, is := r.client.(*redis.ClusterClient)
	return is
}

// Shard returns the client of the master that has a queue, as far as the cluster's client
// knows; after a slot has moved, this may be the old master (see Moved). Without a cluster
// Shard returns the shared client. All queues of a master have the same client. Do not close
// it. The client of a master has no retries, and does not follow a slot to another node.
func (r *Redis) Shard(ctx context.Context, queue string) (redis.UniversalClient, error) {
	cluster, is := r.client.(*redis.ClusterClient)
	if !is {
		return r.client, nil
	}
	return cluster.MasterForKey(ctx, PendingKey(queue))
}

// Moved is called when a master has refused a queue that it no longer has: it makes the client read
// the cluster's slots again, in the background. So the next call of Shard may still return the old
// master.
func (r *Redis) Moved(ctx context.Context) {
	if cluster, is := r.client.(*redis.ClusterClient); is {
		cluster.ReloadState(ctx)
	}
}

// Masters returns a client for each master of a cluster. Without a cluster it returns the
// shared client. Do not close them.
func (r *Redis) Masters(ctx context.Context) ([]redis.UniversalClient, error) {
	cluster, is := r.client.(*redis.ClusterClient)
	if !is {
		return []redis.UniversalClient{r.client}, nil
	}
	var mu sync.Mutex
	of := map[string]redis.UniversalClient{}
	err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		of[node.Options().Addr] = node
		return nil
	})
	if err != nil {
		return nil, err
	}
	var masters []redis.UniversalClient
	for _, name := range sortedNames(of) {
		masters = append(masters, of[name])
	}
	return masters, nil
}

func sortedNames(of map[string]redis.UniversalClient) []string {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// canaries is the number of canaries in a cluster. The canaries are spread evenly over
// the slots. So each of up to that many masters has one, if the masters have equally many
// slots in one range each. A canary moves with its slot.
const canaries = 32

// slots is how many slots a cluster has.
const slots = 16384

var canaryTags = sync.OnceValue(func() []string {
	tags := make([]string, canaries)
	for i := range tags {
		for n := 0; tags[i] == ""; n++ {
			if tag := fmt.Sprintf("outboxd-%d", n); lost.SlotOf(tag)/(slots/canaries) == i {
				tags[i] = tag
			}
		}
	}
	return tags
})

// CanaryKeys returns the keys of the canary: one, or in a cluster several. The keys never
// expire: if one of them is gone, Redis has lost data.
func (r *Redis) CanaryKeys(name string) []string {
	if !r.IsCluster() {
		return []string{CanaryKey(name)}
	}
	keys := make([]string, 0, canaries)
	for _, tag := range canaryTags() {
		keys = append(keys, "asynq:{"+tag+"}:canary:"+name)
	}
	return keys
}

// Joined makes one text of the answers of a cluster's masters. The text does not depend on the
// order of the answers, because Joined sorts them in place. For a single Redis, Joined returns what
// this Redis says.
func Joined(said []string) string {
	slices.Sort(said)
	return strings.Join(said, " ")
}
