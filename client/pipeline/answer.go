package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// errUnread is the error of a command whose reply was not read. The error is needed
// because of go-redis: if Redis refuses a new connection, go-redis leaves the
// commands of a pipeline without an error, which looks like success.
var errUnread = errors.New("the reply was not read")

// send sends a pipeline. Afterwards each command has its own reply or an error.
//
// If a reply did not come in time, the replies may be shifted: each may belong to
// another command than the one it was read for. Then none of them counts.
func send(ctx context.Context, pipe redis.Pipeliner) {
	commands := pipe.Cmds()
	for _, command := range commands {
		command.SetErr(errUnread)
	}
	_, err := pipe.Exec(ctx)
	late := redisreply.IsTimeout(err)
	for _, command := range commands {
		late = late || redisreply.IsTimeout(command.Err())
	}
	for _, command := range commands {
		switch {
		case late && err != nil:
			command.SetErr(err)
		case errors.Is(command.Err(), errUnread) && err != nil:
			command.SetErr(fmt.Errorf("%w: %w", errUnread, err))
		}
	}
}

// passing lists the beginnings of errors that Redis often returns only for a short
// time, such as while it starts.
var passing = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "ERR max number of clients reached"}

// mayPass reports whether repeating a command may help after this error, because no
// answer came or because the error may soon pass.
func mayPass(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return false
	}
	answer, answered := errors.AsType[redis.Error](err)
	if !answered {
		return !errors.Is(err, redis.ErrClosed)
	}
	for _, word := range passing {
		if strings.HasPrefix(answer.Error(), word) {
			return true
		}
	}
	return false
}

// tookNothing reports whether a request was certainly not carried out: the connection was not made, or Redis
// refused the request before its first write. Redis lets a script finish after that.
func tookNothing(err error) bool {
	if dial, isNetwork := errors.AsType[*net.OpError](err); isNetwork {
		return dial.Op == "dial"
	}
	answer, answered := errors.AsType[redis.Error](err)
	begins := func(word string) bool { return strings.HasPrefix(answer.Error(), word) }
	return answered && (slices.ContainsFunc(passing, begins) || slices.ContainsFunc(refusing, begins))
}

// noScript is the prefix of Redis's error for EVALSHA with a hash that Redis does
// not know.
const noScript = "NOSCRIPT"
