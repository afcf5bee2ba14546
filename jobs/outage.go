package jobs

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Asynq turns Redis's errors into text. What an exchange with Redis really
// came to is therefore read below Asynq, where go-redis still has the error.

// replyKey leads from an exchange's context to where its error goes.
type replyKey struct{}

// withReply returns a context for one enqueueing, and where the error of its
// last command will be.
func withReply(ctx context.Context) (context.Context, *error) {
	reply := new(error)
	return context.WithValue(ctx, replyKey{}, reply), reply
}

// replyHook is the go-redis hook that keeps the error of each command.
type replyHook struct{}

func (replyHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (replyHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if reply, ok := ctx.Value(replyKey{}).(*error); ok {
			*reply = err
		}
		return err
	}
}

func (replyHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// outageReplies are the answers by which Redis says that it cannot serve
// anybody right now: prefixes of its error replies.
var outageReplies = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK",
	"OOM", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED",
	"NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients reached",
}

// isOutage tells an outage, which concerns every event, from the refusal of
// one. Whatever is not an answer of Redis is an outage: a connection that
// failed, or an answer that never came, so that nobody knows whether the command
// was carried out.
func isOutage(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return err != nil
	}
	// Redis 6 puts its own words before the reply that ended a script.
	message := answer.Error()
	for _, reply := range outageReplies {
		if strings.HasPrefix(message, reply) || strings.Contains(message, ": -"+reply) {
			return true
		}
	}
	return false
}
