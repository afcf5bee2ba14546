// Package spare keeps Asynq from archiving a task because of an error that is not the
// task's own. On a task's last attempt Asynq archives it after every error, also if
// the database could not be reached and the handler never ran.
package spare

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Tasks is the set of tasks that are put back to be tried again. The zero value is
// ready to use. It is safe for concurrent use.
type Tasks struct{ byID sync.Map } // of task

type task struct{ until, again time.Time }

// holds is how long a task stays spared that Asynq did not archive. Asynq has lost
// the lease of such a task, and another worker may have had it since.
const holds = time.Minute

// Spare makes Asynq try a task again after delay when it is about to archive
// the task.
func (t *Tasks) Spare(id string, delay time.Duration) {
	now := time.Now()
	t.byID.Store(id, task{now.Add(holds), now.Add(delay)})
}

// The script does the same as Asynq's retry, but changes no count of attempts and
// counts no failure. ARGV[2] is the task's message with the error in it.
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

// Asynq's script that archives a task at the end of its run is recognised by its keys
// and arguments.
const (
	archiveKeys = 9
	archiveArgs = 7
	activeKey   = 1
	leaseKey    = 2
	archivedKey = 3
)

// Instead replaces one of Asynq's scripts if that would archive a spared task.
// It returns nil for other scripts.
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

// Client returns a Redis client for the Asynq server that runs these tasks.
func (t *Tasks) Client(r redis.UniversalClient) redis.UniversalClient { return sparing{r, t} }

type sparing struct {
	redis.UniversalClient
	tasks *Tasks
}

// EvalSha runs a script, as Asynq usually does.
func (s sparing) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if answer := s.tasks.Instead(ctx, s.UniversalClient, keys, args); answer != nil {
		return answer
	}
	return s.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

// Eval runs a script that Redis does not know yet.
func (s sparing) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	if answer := s.tasks.Instead(ctx, s.UniversalClient, keys, args); answer != nil {
		return answer
	}
	return s.UniversalClient.Eval(ctx, script, keys, args...)
}

// Before returns a context that ends a little before Asynq's. When its own context
// ends, Asynq ends the task with an error and charges an attempt. A caller that waits
// for a server uses the earlier context, and so gives the task back in time.
func Before(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(margin, time.Until(deadline)/10)))
}

// margin leaves time for the last steps of a task, such as a rollback.
const margin = time.Second
