package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// errUnread is the error of a command whose reply was not read. If Redis refused
// the greeting of a new connection, go-redis leaves the commands of a pipeline
// without an error, which looks like success.
var errUnread = errors.New("the reply was not read")

// UnexpectedReply is an answer that Redis never gives to the command. A server
// in front of Redis may have given it without carrying out the command.
type UnexpectedReply struct {
	To    string
	Reply any
}

func (e UnexpectedReply) Error() string {
	return fmt.Sprintf("the answer to %s was %.60q (%T), which Redis never gives: look what stands before Redis", e.To, fmt.Sprint(e.Reply), e.Reply)
}

// send sends a pipeline. Afterwards each command has its own reply or an error.
//
// If a reply did not come in time, one reply may be missing, and each reply that
// was read may belong to the next command. So then no reply counts.
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

// passing has the answers of a Redis that will soon give another answer.
var passing = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "ERR max number of clients reached"}

// mayPass reports whether go-redis would repeat a command after this error: no
// answer came, or Redis is about to change its state.
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

// noScript is Redis's error for a script whose hash it does not know.
const noScript = "NOSCRIPT"
