package broker

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// unread is a hook for a Redis client. With the hook unread, every command of a pipeline
// counts as failed until its own reply has been read.
//
// If Redis answers the greeting of a new connection with an error, such as a wrong password or an
// unknown database, go-redis sets no error on the commands of the pipeline, and only Exec returns
// the error. So each command looks as if it had succeeded. With the hook unread, each command has
// the error.
type unread struct{}

var errUnread = errors.New("the reply was not read")

func (unread) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (unread) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if err := next(ctx, command); err != nil {
			return Whence(err)
		}
		return confirmed(command)
	}
}

func (unread) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		for _, command := range commands {
			command.SetErr(errUnread)
		}
		err := Whence(next(ctx, commands))
		cause := err
		if cause == nil {
			cause = errUnread
		}
		for _, command := range commands {
			if errors.Is(command.Err(), errUnread) {
				command.SetErr(cause)
			} else if strange := confirmed(command); strange != nil {
				command.SetErr(strange)
			}
			if err == nil {
				err = command.Err()
			}
		}
		return err
	}
}

// confirmations has the only possible replies to some commands. go-redis accepts any line and any
// number as the reply. A server that answers SELECT with another line may not have executed it, and
// tasks would go to the wrong database.
var confirmations = map[string]string{"select": "OK", "auth": "OK", "ping": "PONG", "set": "OK"}

func confirmed(command redis.Cmder) error {
	status, isStatus := command.(*redis.StatusCmd)
	if !isStatus {
		return nil
	}
	if want, known := confirmations[status.Name()]; known && status.Err() == nil && status.Val() != want {
		return redisreply.Unexpected{To: strings.ToUpper(status.Name()), Reply: status.Val()}
	}
	return nil
}

// turnedAway is the error if Redis refused a new connection: its error reply to the
// greeting. Such a reply does not concern the command that was to be sent afterwards.
type turnedAway struct{ error }

func (e turnedAway) Unwrap() error { return e.error }

func isTurnedAway(err error) bool {
	_, away := errors.AsType[turnedAway](err)
	return away
}

// Whence wraps an error in turnedAway if it is a reply to a greeting. Whence knows such a
// reply because go-redis wraps it, and does not wrap replies to commands.
func Whence(err error) error {
	if err == nil || isTurnedAway(err) {
		return err
	}
	if _, direct := err.(redis.Error); direct { //nolint:errorlint // being wrapped is the difference
		return err
	}
	if _, answered := errors.AsType[redis.Error](err); answered {
		return turnedAway{err}
	}
	return err
}

// guarded adds the hook unread to a client and returns the client.
func guarded[C interface{ AddHook(hook redis.Hook) }](client C) C {
	client.AddHook(unread{})
	return client
}
