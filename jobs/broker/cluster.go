package broker

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterReload is how long a client uses what it knows of a cluster's nodes, as long as
// nothing fails. After a failure the client asks for the nodes at once.
const clusterReload = 10 * time.Second

// newCluster returns a client for a cluster. If the options have no retries, neither has
// the cluster: a pipeline that failed is not sent again, not even to another node. But a
// command that a node certainly did not run is sent to the node that has the command's
// slot.
func newCluster(u redis.UniversalOptions) *redis.ClusterClient {
	o := u.Cluster()
	o.MaxRedirects, o.MaxRetries = u.MaxRetries, -1
	// go-redis needs the routing policies only for commands of Redis modules, and would ask
	// for them with COMMAND.
	o.DisableRoutingPolicies = true
	o.ClusterStateReloadInterval = clusterReload
	cluster := redis.NewClusterClient(o)
	// The clients of single nodes are used too (see Redis.Shard), so they get the hook as
	// well.
	cluster.OnNewNode(func(node *redis.Client) { guarded(node) })
	cluster.AddHook(redirected{cluster})
	return guarded(cluster)
}

// redirected is a hook that sends a command again if a node did not run it: the slot of
// the command is on another node, or is just being moved.
type redirected struct{ cluster *redis.ClusterClient }

// redirections is how often such a command is sent again at most. redirectPause is the
// first pause; each pause is twice as long as the one before. In all, the pauses are
// about as long as the client needs to learn of a new node. A slot with many tasks takes
// longer to move; then the command fails, which is an outage of its queue.
const (
	redirections  = 5
	redirectPause = 20 * time.Millisecond
)

// IsRedirect reports whether a node did not run a command because the command's slot is
// on another node or is just being moved.
func IsRedirect(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "TRYAGAIN")
}

// note is called with the error of a command. If the error says that the client's knowledge
// of the nodes may be wrong, the client asks the cluster for its nodes.
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

// Pause waits for the given time. It returns false if ctx ends before.
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
