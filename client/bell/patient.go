package bell

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Pause is the asynq.Config.TaskCheckInterval for a server with a Patient, which
// waits itself.
const Pause = time.Millisecond / 2

// Patient is a Redis client for an Asynq server. It delays the server's next
// look while its queues are empty and the bell is silent.
type Patient struct {
	redis.UniversalClient
	ctx  context.Context //nolint:containedctx // Asynq looks with context.Background
	idle *Idle
}

// NewPatient returns a Patient. It stops waiting when ctx ends.
func NewPatient(ctx context.Context, client redis.UniversalClient, idle *Idle) *Patient {
	return &Patient{UniversalClient: client, ctx: ctx, idle: idle}
}

// EvalSha is the call by which Asynq takes a task.
func (p *Patient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if !TakesTask(keys) {
		return p.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	p.idle.Await(p.ctx)
	answer := p.UniversalClient.EvalSha(ctx, sha, keys, args...)
	p.idle.Note(answer.Err() != redis.Nil) //nolint:errorlint // go-redis returns it unwrapped
	return answer
}

// TakesTask reports by its keys whether a script is Asynq's script for taking a
// task: no other script checks whether the queue is paused.
func TakesTask(keys []string) bool { return len(keys) == 4 && strings.HasSuffix(keys[1], ":paused") }
