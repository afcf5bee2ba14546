package broker

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterReload bounds how long a client believes what it knows of a cluster's
// nodes, while nothing fails. What fails makes it ask at once.
const clusterReload = 10 * time.Second

// newCluster returns a client for a cluster. Options without repeats have none in
// the cluster either: a pipeline that failed is not sent again, not even to another node. But a command
// that a node certainly did not run, because its slot is elsewhere, goes there.
func newCluster(u redis.UniversalOptions) *redis.ClusterClient {
	o := u.Cluster()
	o.MaxRedirects, o.MaxRetries = u.MaxRetries, -1
	// Only commands of modules need the policies, for which go-redis asks with COMMAND.
	o.DisableRoutingPolicies = true
	o.ClusterStateReloadInterval = clusterReload
	cluster := redis.NewClusterClient(o)
	// The nodes' clients are used too: see Redis.Shard.
	cluster.OnNewNode(func(node *redis.Client) { guarded(node) })
	cluster.AddHook(redirected{cluster})
	return guarded(cluster)
}

// redirected is a hook that sends commands again which a node did not run: their
// slot is another node's, or moves there now.
type redirected struct{ cluster *redis.ClusterClient }

// redirections is how often such a command is sent again at most, and
// redirectPause the first pause, which doubles. It takes the client about that
// long to learn of a new node. A slot with many tasks moves for longer; then the
// command fails, which is an outage of its queue.
const (
	redirections  = 5
	redirectPause = 20 * time.Millisecond
)

// IsRedirect reports whether a node did not run a command because the command's slot
// belongs to another node, or is just being moved.
func IsRedirect(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "TRYAGAIN")
}

// note makes the client ask for the cluster's nodes if an error says that it may not know them.
func (h redirected) note(ctx context.Context, err error) {
	var answer redis.Error
	if IsRedirect(err) || redis.HasErrorPrefix(err, "READONLY") || redis.HasErrorPrefix(err, "CLUSTERDOWN") ||
		err != nil && !errors.As(err, &answer) && !errors.Is(err, context.Canceled) {
		h.cluster.ReloadState(ctx)
	}
}

func (redirected) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h redirected) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		for n := 0; ; n++ {
			err := next(ctx, command)
			h.note(ctx, err)
			if n == redirections || !IsRedirect(err) || !Pause(ctx, redirectPause<<n) {
				return err
			}
			command.SetErr(nil)
		}
	}
}

func (h redirected) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		err := next(ctx, commands)
		h.note(ctx, err)
		for n := range redirections {
			var again []redis.Cmder
			for _, command := range commands {
				if IsRedirect(command.Err()) {
					again = append(again, command)
				}
			}
			if len(again) == 0 || !Pause(ctx, redirectPause<<n) {
				break
			}
			for _, command := range again {
				command.SetErr(errUnread)
			}
			_ = next(ctx, again) // each command has its own error
		}
		for _, command := range commands {
			if failed := command.Err(); failed != nil {
				h.note(ctx, failed)
				return failed
			}
		}
		if IsRedirect(err) {
			return nil
		}
		return err
	}
}

// Pause waits for length, and returns false if ctx ends before.
func Pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
