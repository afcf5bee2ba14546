// Package spare keeps Asynq from archiving a task for an error that is not the task's
// own. On a task's last attempt Asynq archives it whatever the error is, also where
// the database was away and nothing of the task was tried.
package spare

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Tasks are those that are to go back, to be tried again. The zero value is ready to
// use. It is safe for concurrent use.
type Tasks struct{ byID sync.Map } // of task

type task struct{ until, again time.Time }

// holds bounds how long a word about a task holds that Asynq did not archive: it lost
// the task's lease, and another worker may have had the task since.
const holds = time.Minute

// Spare has a task tried again after delay when Asynq is about to archive it.
func (t *Tasks) Spare(id string, delay time.Duration) {
	now := time.Now()
	t.byID.Store(id, task{now.Add(holds), now.Add(delay)})
}

// What Asynq does when it tries a task again, without a change of its attempts and
// without counting a failure. ARGV[2] is the task's message with the error in it.
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

// Asynq's script that archives a task at the end of its run, by its keys and arguments.
const (
	archiveKeys = 9
	archiveArgs = 7
	activeKey   = 1
	leaseKey    = 2
	archivedKey = 3
)

// Instead runs in place of one of Asynq's scripts if that would archive a spared
// task. It returns nil for every other one.
func (t *Tasks) Instead(ctx context.Context, r redis.Scripter, keys []string, args []any) *redis.Cmd {
	if len(keys) != archiveKeys || len(args) != archiveArgs || !strings.HasSuffix(keys[activeKey], ":active") || !strings.HasSuffix(keys[archivedKey], ":archived") {
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
	if answer.Err() == nil {
		t.byID.Delete(args[0])
	}
	return answer
}

// Client returns a Redis client for an Asynq server whose tasks these are.
func (t *Tasks) Client(r redis.UniversalClient) redis.UniversalClient { return sparing{r, t} }

type sparing struct {
	redis.UniversalClient
	tasks *Tasks
}

// EvalSha is how Asynq runs a script.
func (s sparing) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if answer := s.tasks.Instead(ctx, s.UniversalClient, keys, args); answer != nil {
		return answer
	}
	return s.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

// Eval is how Asynq runs a script that Redis does not know.
func (s sparing) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	if answer := s.tasks.Instead(ctx, s.UniversalClient, keys, args); answer != nil {
		return answer
	}
	return s.UniversalClient.Eval(ctx, script, keys, args...)
}

// Before returns a context that ends a little before Asynq's, which ends a task whose
// time is over with an error of its own, and charges it. Whoever waits for a server
// gives the task back in time.
func Before(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(margin, time.Until(deadline)/10)))
}

// margin is for what is left to do, such as a rollback.
const margin = time.Second
