package bell

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Pause is the pause that a server of Asynq needs when the waiting is done here:
// set it as asynq.Config.TaskCheckInterval.
const Pause = time.Millisecond / 2

// Patient is the Redis client for an Asynq server. It holds the server's next
// look back while its queues are empty and the bell is silent.
type Patient struct {
	redis.UniversalClient
	ctx  context.Context //nolint:containedctx // Asynq looks with context.Background
	idle *Idle
}

// NewPatient returns a Patient. It waits for nothing any more when ctx has ended.
func NewPatient(ctx context.Context, client redis.UniversalClient, idle *Idle) *Patient {
	return &Patient{UniversalClient: client, ctx: ctx, idle: idle}
}

// EvalSha is how Asynq takes a task.
func (p *Patient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if !TakesTask(keys) {
		return p.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	p.idle.Await(p.ctx)
	answer := p.UniversalClient.EvalSha(ctx, sha, keys, args...)
	p.idle.Note(answer.Err() != redis.Nil) //nolint:errorlint // go-redis returns it as it is
	return answer
}

// TakesTask tells by its keys whether a script is the one by which Asynq takes a
// task: no other asks whether the queue is paused.
func TakesTask(keys []string) bool { return len(keys) == 4 && strings.HasSuffix(keys[1], ":paused") }
