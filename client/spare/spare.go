// Package spare keeps Asynq from archiving a task because of an error that is not
// the task's fault. After an error on the last attempt Asynq archives the task,
// even if the database could not be reached and the handler never ran.
package spare

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// Tasks is the set of spared tasks: when Asynq is about to archive such a task, the
// task is put back instead, to be tried again. The zero value is ready to use. Tasks
// is safe for concurrent use.
type Tasks struct{ byID sync.Map } // of task

type task struct{ until, again time.Time }

// holds is how long a task stays spared if Asynq does not archive it. If the
// server has lost the task's lease, Asynq does not archive the task, and another
// worker may have run it since.
const holds = time.Minute

// Spare adds a task to the set: if Asynq is about to archive the task, the task is tried again
// after the given delay instead.
func (t *Tasks) Spare(id string, delay time.Duration) {
	now := time.Now()
	one := task{now.Add(holds), now.Add(delay)}
	t.byID.Store(id, one)
	time.AfterFunc(holds, func() { t.byID.CompareAndDelete(id, one) })
}

// The script does the same as Asynq's script for a retry, but does not change the
// number of attempts and does not count a failure. ARGV[2] is the task's message,
// which contains the error.
var backScript = redis.NewScript(`
if redis.call("LREM", KEYS[2], 0, ARGV[1]) == 0 then
  return redis.error_reply("NOT FOUND")
end
if redis.call("ZREM", KEYS[3], ARGV[1]) == 0 then
  return redis.error_reply("NOT FOUND")
end
redis.call("ZADD", KEYS[4], ARGV[3], ARGV[1])
redis.call("HSET", KEYS[1], "msg", ARGV[2], "state", "retry")
return redis.status_reply("OK")`)

// The number and the positions of keys and arguments by which Instead recognises
// Asynq's script for archiving a task.
const (
	archiveKeys = 9
	archiveArgs = 7
	activeKey   = 1
	leaseKey    = 2
	archivedKey = 3
)

// IsArchiving reports whether these are the keys and arguments of Asynq's script that archives a task. The first
// argument is then the task's ID, and the second its message.
func IsArchiving(keys []string, args []any) bool {
	return len(keys) == archiveKeys && len(args) == archiveArgs && strings.HasSuffix(keys[activeKey], ":active") && strings.HasSuffix(keys[archivedKey], ":archived")
}

// Instead handles a script that Asynq is about to run. If the script would archive
// a spared task, Instead puts the task back and returns the reply. Otherwise it
// returns nil.
func (t *Tasks) Instead(ctx context.Context, r redis.Scripter, keys []string, args []any) *redis.Cmd {
	if !IsArchiving(keys, args) {
		return nil
	}
	found, spared := t.byID.Load(args[0])
	if !spared {
		return nil
	}
	one, _ := found.(task)
	if time.Now().After(one.until) {
		t.byID.Delete(args[0])
		return nil
	}
	retry := strings.TrimSuffix(keys[archivedKey], "archived") + "retry"
	answer := backScript.Run(ctx, r, []string{keys[0], keys[activeKey], keys[leaseKey], retry}, args[0], args[1], one.again.Unix())
	switch {
	case answer.Err() != nil:
	case answer.Val() != "OK":
		answer.SetErr(redisreply.Unexpected{To: "the script that puts a task back", Reply: answer.Val()})
	default:
		t.byID.Delete(args[0])
	}
	return answer
}

// Client returns a Redis client for the Asynq server that runs these tasks.
func (t *Tasks) Client(r redis.UniversalClient) redis.UniversalClient { return sparing{r, t} }

type sparing struct {
	redis.UniversalClient
	tasks *Tasks
}

// EvalSha runs a script, unless Instead replaces it. Asynq usually runs scripts by
// EVALSHA.
func (s sparing) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if answer := s.tasks.Instead(ctx, s.UniversalClient, keys, args); answer != nil {
		return answer
	}
	return s.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

// Eval runs a script that Redis does not know yet, unless Instead replaces it.
func (s sparing) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	if answer := s.tasks.Instead(ctx, s.UniversalClient, keys, args); answer != nil {
		return answer
	}
	return s.UniversalClient.Eval(ctx, script, keys, args...)
}

// Before returns a context that ends a little before ctx, the context that Asynq
// gave the task. When ctx ends, Asynq ends the task with an error that costs an
// attempt. A caller that waits for a server uses the earlier context, so that it
// can give the task back in time.
func Before(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(margin, time.Until(deadline)/10)))
}

// margin is how much earlier the context of Before ends at most: the time for the last steps of a
// task, such as a rollback.
const margin = time.Second
