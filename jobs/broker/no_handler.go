package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// ErrNoHandler marks a task that was taken and cannot be carried out, which takes
// a message that names two types. Its text is the task's last error, by which
// others recognise it.
var ErrNoHandler = errors.New("no handler for this type of task")

// IsNoHandler tells by a task's last error that a worker had no handler for it:
// one of outboxd's, or one with Asynq's own mux.
func IsNoHandler(lastError string) bool {
	return strings.HasPrefix(lastError, ErrNoHandler.Error()) || strings.HasPrefix(lastError, asynq.ErrHandlerNotFound.Error())
}

// Cause is an error's text without Asynq's note to itself.
func Cause(text string) error {
	return errors.New(strings.TrimSuffix(text, ": "+asynq.SkipRetry.Error()))
}

// leftKept is longer than anybody needs to look, and so short that a queue that
// is gone is forgotten.
const leftKept = 7 * 24 * time.Hour

// MarkLeft lets others, which see a queue but not what its workers can do, know
// that nobody takes the task at its head.
func MarkLeft(ctx context.Context, client redis.UniversalClient, queue, head string, since time.Time) error {
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, leftKey, queue, fmt.Sprintf("%d %s", since.Unix(), head))
		pipe.Expire(ctx, leftKey, leftKept)
		return nil
	})
	return err
}

// Left returns what MarkLeft has noted: the task at the head of each queue. It
// may have been taken since.
func Left(ctx context.Context, client redis.UniversalClient) (heads map[string]string, err error) {
	entries, err := client.HGetAll(ctx, leftKey).Result()
	if err != nil {
		return nil, err
	}
	heads = make(map[string]string, len(entries))
	for queue, entry := range entries {
		seconds, head, found := strings.Cut(entry, " ")
		if _, err := strconv.ParseInt(seconds, 10, 64); found && err == nil {
			heads[queue] = head
		}
	}
	return heads, nil
}
