package jobs

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// unread is a hook for a Redis client: every command of a pipeline has failed
// until its own reply has been read.
//
// go-redis leaves the commands of a pipeline without an error, which looks like
// success, when Redis answers the greeting of a new connection with one: a wrong
// password, a database that does not exist. Only Exec returns that error. With
// the hook, each command has it.
type unread struct{}

var errUnread = errors.New("the reply was not read")

func (unread) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (unread) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (unread) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		for _, command := range commands {
			command.SetErr(errUnread)
		}
		err := next(ctx, commands)
		cause := err
		if cause == nil {
			cause = errUnread
		}
		for _, command := range commands {
			if errors.Is(command.Err(), errUnread) {
				command.SetErr(cause)
				if err == nil {
					err = cause
				}
			}
		}
		return err
	}
}

// guarded returns the client with the hook.
func guarded(client *redis.Client) *redis.Client {
	client.AddHook(unread{})
	return client
}
