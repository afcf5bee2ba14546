package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/domain/setup"
)

// queue reads the Asynq queues of a run from Redis, without outboxd.
type queue struct {
	redis      redis.UniversalClient
	canaryKeys func(name string) []string
}

const queuePrefix = "asynq:{" + domain.DefaultQueue + "}:"

// queues are the names of all queues of a run.
var queues = []string{domain.DefaultQueue, elsewhereQueue, setup.SubscriptionQueuePrefix + receiverNames[0], setup.SubscriptionQueuePrefix + receiverNames[1]}

// keysOf returns the keys of a list or set in every queue.
func keysOf(name string) (keys []string) {
	for _, queue := range queues {
		keys = append(keys, "asynq:{"+queue+"}:"+name)
	}
	return keys
}

// The places of a task that still has to run. A task is in one of them.
var (
	listsOfTasks = []string{"pending", "active"}
	setsOfTasks  = []string{"scheduled", "retry"}
)

const (
	archive = "archived" // where tasks lie that Asynq gave up
	page    = 20_000
)

// tasks calls the function found with the ID of every task that has to run, as often as Redis has it.
func (q queue) tasks(ctx context.Context, found func(taskID string)) error {
	for _, name := range listsOfTasks {
		if err := q.pages(ctx, name, q.redis.LRange, found); err != nil {
			return err
		}
	}
	for _, name := range setsOfTasks {
		if err := q.pages(ctx, name, q.redis.ZRange, found); err != nil {
			return err
		}
	}
	return nil
}

// archived calls the function found with the ID of every task that Asynq gave up.
func (q queue) archived(ctx context.Context, found func(taskID string)) error {
	return q.pages(ctx, archive, q.redis.ZRange, found)
}

func (q queue) pages(ctx context.Context, name string, read func(context.Context, string, int64, int64) *redis.StringSliceCmd, found func(string)) error {
	for _, key := range keysOf(name) {
		if err := pagesOf(ctx, key, read, found); err != nil {
			return err
		}
	}
	return nil
}

func pagesOf(ctx context.Context, key string, read func(context.Context, string, int64, int64) *redis.StringSliceCmd, found func(string)) error {
	for from := int64(0); ; from += page {
		ids, err := read(ctx, key, from, from+page-1).Result()
		if err != nil {
			return fmt.Errorf("read the tasks of %s: %w", key, err)
		}
		for _, id := range ids {
			found(id)
		}
		if len(ids) < page {
			return nil
		}
	}
}

// The script counts all tasks of one queue that have to run, at the same moment, because tasks move between lists.
var lengthScript = redis.NewScript(`
local total = 0
for _, key in ipairs(KEYS) do
    total = total + redis.call(redis.call("TYPE", key).ok == "zset" and "ZCARD" or "LLEN", key)
end
return total`)

// length returns how many tasks have to run.
func (q queue) length(ctx context.Context) (total int64, err error) {
	for i := range queues {
		var keys []string
		for _, name := range slices.Concat(listsOfTasks, setsOfTasks) {
			keys = append(keys, keysOf(name)[i])
		}
		n, err := lengthScript.Run(ctx, q.redis, keys).Int64()
		if err != nil {
			return 0, fmt.Errorf("count the tasks: %w", err)
		}
		total += n
	}
	return total, nil
}

// hurry moves two times for which Asynq waits into the past: the end of each lease, after
// which Asynq takes a task away from a worker that is gone, and the next attempt of each
// task that failed.
func (q queue) hurry(ctx context.Context) error {
	past := time.Now().Add(-2 * time.Minute)
	return errors.Join(q.antedate(ctx, "lease", past), q.antedate(ctx, "retry", past))
}

func (q queue) antedate(ctx context.Context, name string, to time.Time) error {
	var errs []error
	for _, key := range keysOf(name) {
		errs = append(errs, q.antedateIn(ctx, key, to))
	}
	return errors.Join(errs...)
}

func (q queue) antedateIn(ctx context.Context, key string, to time.Time) error {
	ids, err := q.redis.ZRange(ctx, key, 0, page).Result()
	if err != nil || len(ids) == 0 {
		return err
	}
	entries := make([]redis.Z, len(ids))
	for i, id := range ids {
		entries[i] = redis.Z{Member: id, Score: float64(to.Unix())}
	}
	return q.redis.ZAddXX(ctx, key, entries...).Err()
}

// canary returns the value that the relays wrote into Redis to notice a loss,
// or "" if it is missing, or is not everywhere the same.
func (q queue) canary(ctx context.Context, name string) (canary string, err error) {
	for i, key := range q.canaryKeys(name) {
		one, err := q.redis.Get(ctx, key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return "", fmt.Errorf("look for the canary: %w", err)
		}
		if i > 0 && one != canary {
			return "", nil
		}
		canary = one
	}
	return canary, nil
}

// runID returns the ID that Redis makes anew whenever it starts. Of a cluster, runID returns the IDs of all
// masters, in the form in which outboxd records them.
func (q queue) runID(ctx context.Context) (string, error) {
	cluster, is := q.redis.(*redis.ClusterClient)
	if !is {
		return runIDOf(ctx, q.redis)
	}
	var mu sync.Mutex
	var ids []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		id, err := runIDOf(ctx, master)
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, id)
		return err
	})
	slices.Sort(ids)
	return strings.Join(ids, " "), err
}

func runIDOf(ctx context.Context, server redis.UniversalClient) (string, error) {
	text, err := server.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("ask Redis for its run: %w", err)
	}
	for line := range strings.Lines(text) {
		if id, found := strings.CutPrefix(line, "run_id:"); found {
			return strings.TrimSpace(id), nil
		}
	}
	return "", errors.New("ask Redis for its run: it does not tell")
}
