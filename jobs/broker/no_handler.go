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

// ErrNoHandler marks a task that was taken although this worker has no handler
// for it. That needs a message that names two types. Its text becomes the task's
// last error, by which others recognise it.
var ErrNoHandler = errors.New("no handler for this type of task")

// IsNoHandler reports by a task's last error whether a worker had no handler
// for it: a worker of outboxd, or one with Asynq's own mux.
func IsNoHandler(lastError string) bool {
	return strings.HasPrefix(lastError, ErrNoHandler.Error()) || strings.HasPrefix(lastError, asynq.ErrHandlerNotFound.Error())
}

// Cause returns an error from a task's last error, without the text that Asynq
// adds for itself.
func Cause(text string) error {
	return errors.New(strings.TrimSuffix(text, ": "+asynq.SkipRetry.Error()))
}

// leftKept is how long the notes of MarkLeft are kept: long enough to be seen,
// and short enough to forget a queue that is gone.
const leftKept = 7 * 24 * time.Hour

// MarkLeft notes for others that no worker takes the task at the head of a
// queue. They see the queue but not which types its workers handle.
func MarkLeft(ctx context.Context, client redis.UniversalClient, queue, head string, since time.Time) error {
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, leftKey, queue, fmt.Sprintf("%d %s", since.Unix(), head))
		pipe.Expire(ctx, leftKey, leftKept)
		return nil
	})
	return err
}

// Left returns the notes of MarkLeft: the task at the head of each queue. It
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
