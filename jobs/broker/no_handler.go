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

// ErrNoHandler is the error of a task that a worker took although it has no handler for
// it. outboxd's worker takes such a task only if the task's message has the field for the
// type twice: the worker's script reads the first type, and Asynq the last. The text of
// ErrNoHandler becomes the task's last error, by which IsNoHandler recognises such a task.
var ErrNoHandler = errors.New("no handler for this type of task")

// IsNoHandler reports, from a task's last error, whether the worker had no handler for
// the task. The worker may be outboxd's or one with Asynq's own ServeMux.
func IsNoHandler(lastError string) bool {
	return strings.HasPrefix(lastError, ErrNoHandler.Error()) || strings.HasPrefix(lastError, asynq.ErrHandlerNotFound.Error())
}

// Cause returns a task's last error without the text that Asynq adds for itself.
func Cause(text string) error {
	return errors.New(strings.TrimSuffix(text, ": "+asynq.SkipRetry.Error()))
}

// leftKept is how long Redis keeps the notes of MarkLeft after the newest one. They are in one
// hash, so an old note stays as long as new ones come.
const leftKept = 7 * 24 * time.Hour

// MarkLeft writes a note into Redis: no worker takes the task at the head of this queue.
// Other processes see the queue, but cannot see which types its workers handle.
func MarkLeft(ctx context.Context, client redis.UniversalClient, queue, head string, since time.Time) error {
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, leftKey, queue, fmt.Sprintf("%d %s", since.Unix(), head))
		pipe.Expire(ctx, leftKey, leftKept)
		return nil
	})
	return err
}

// Left reads the notes of MarkLeft from Redis: for each queue whose first task no worker
// takes, the ID of that task. A worker may have taken that task since.
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
