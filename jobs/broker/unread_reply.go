package broker

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// unread is a hook for a Redis client. With the hook unread, every command counts as failed until
// its own reply has been read.
//
// If Redis answers the greeting of a new connection with an error, such as a wrong password or an
// unknown database, go-redis sets no error on the commands of the pipeline, and only Exec returns
// the error. So each command looks as if it had succeeded. A single command gets the answer to the
// greeting as if it were its own: a greeting that is answered with nil would make every key look
// absent. With the hook unread, each command has an error that is no reply to it.
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
			return ofGreeting(command, Whence(err))
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
		for _, command := range commands {
			if errors.Is(command.Err(), errUnread) {
				command.SetErr(unreadBecause(err))
			} else if strange := confirmed(command); strange != nil {
				command.SetErr(strange)
			} else if command.Err() != nil {
				command.SetErr(ofGreeting(command, command.Err()))
			}
		}
		return worst(err, commands)
	}
}

// unreadBecause returns the error of a command whose reply was not read, from the error of its pipeline. A reply in
// that error belongs to the greeting.
func unreadBecause(err error) error {
	if err == nil {
		return errUnread
	}
	if _, answered := errors.AsType[redis.Error](err); answered {
		return turnedAwayBy("the greeting of a connection", err)
	}
	return err
}

// worst returns the error of a pipeline: a reply that Redis never gives, else the first error. go-redis goes on with a
// connection if its greeting got a reply that is an error, and gives it up after any other error.
func worst(err error, commands []redis.Cmder) error {
	for _, command := range commands {
		if failed := command.Err(); err == nil || failed != nil && isUnexpected(failed) && !isUnexpected(err) {
			err = failed
		}
	}
	return err
}

func isUnexpected(err error) bool {
	_, is := errors.AsType[redisreply.Unexpected](err)
	return is
}

// confirmations has the only possible replies to some commands. go-redis accepts any line and any
// number as the reply. A server that answers SELECT with another line may not have executed it, and
// tasks would go to the wrong database.
var confirmations = map[string]string{"select": "OK", "auth": "OK", "client": "OK", "ping": "PONG", "set": "OK"}

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

// greetings are the commands with which go-redis begins a connection. outboxd sends them at no other time.
var greetings = []string{"hello", "auth", "select", "client"}

// ofGreeting marks the error of a command if the command belongs to the greeting of a connection. The command that the
// connection was opened for gets the same error.
func ofGreeting(command redis.Cmder, err error) error {
	if !slices.Contains(greetings, command.Name()) {
		return err
	}
	return turnedAwayBy(strings.ToUpper(command.Name()), err)
}

// turnedAway is the error if Redis refused a new connection: its error reply to the
// greeting. Such a reply does not concern the command that was to be sent afterwards.
type turnedAway struct{ error }

func (e turnedAway) Unwrap() error { return e.error }

func isTurnedAway(err error) bool {
	_, away := errors.AsType[turnedAway](err)
	return away
}

// turnedAwayBy marks an error reply to the greeting. Redis answers no greeting with nil. If such an error stayed
// redis.Nil, go-redis might use the connection, and the command that was to be sent would look answered.
func turnedAwayBy(greeting string, err error) error {
	if errors.Is(err, redis.Nil) {
		return redisreply.Unexpected{To: greeting, Reply: nil}
	}
	if _, answered := errors.AsType[redis.Error](err); !answered || isTurnedAway(err) {
		return err
	}
	return turnedAway{err}
}

// Whence wraps an error in turnedAway if it is a reply to a greeting that go-redis has wrapped. go-redis does not wrap
// replies to commands. It removes its own wrapping from most errors, so a client needs the hook unread too.
func Whence(err error) error {
	if err == nil || isTurnedAway(err) {
		return err
	}
	if _, direct := err.(redis.Error); direct { //nolint:errorlint // being wrapped is the difference
		return err
	}
	return turnedAwayBy("the greeting of a connection", err)
}

// guarded adds the hook unread to a client and returns the client.
func guarded[C interface{ AddHook(hook redis.Hook) }](client C) C {
	client.AddHook(unread{})
	return client
}
