package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// errUnread is the error of a command whose reply was not read. go-redis leaves the
// commands of a pipeline without an error, which looks like success, where the
// greeting of a new connection was refused.
var errUnread = errors.New("the reply was not read")

// UnexpectedReply is an answer that the command does not give: whoever answered
// did not carry it out.
type UnexpectedReply struct {
	To    string
	Reply any
}

func (e UnexpectedReply) Error() string {
	return fmt.Sprintf("the answer to %s was %.60q (%T), which Redis never gives: look what stands before Redis", e.To, fmt.Sprint(e.Reply), e.Reply)
}

// send sends a pipeline. Afterwards each command has its own reply or an error.
//
// Where an answer did not come in time, there may have been one too few, and each
// that was read may be that of the next command. So then none counts.
func send(ctx context.Context, pipe redis.Pipeliner) {
	commands := pipe.Cmds()
	for _, command := range commands {
		command.SetErr(errUnread)
	}
	_, err := pipe.Exec(ctx)
	late := isTimeout(err)
	for _, command := range commands {
		late = late || isTimeout(command.Err())
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

func isTimeout(err error) bool {
	failure, ok := errors.AsType[net.Error](err)
	return ok && failure.Timeout()
}

// passing are the answers of a Redis that will soon give another one.
var passing = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "ERR max number of clients reached"}

// mayPass tells of an error after which go-redis would repeat a command: no answer
// came, or that of a Redis which is about to change.
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

// noScript is how Redis says that it does not know a script by its hash.
const noScript = "NOSCRIPT"
