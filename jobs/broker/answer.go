package broker

import (
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// outageReplies has the beginnings of the error replies that count as an outage.
var outageReplies = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK",
	"OOM", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED",
	"NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients reached",
}

// IsOutage reports whether an error counts as an outage, and not as a refusal of one
// event. An error that is no reply of Redis counts as an outage: for example, a reply
// never came, so it is not known whether Redis executed the command.
func IsOutage(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) || isTurnedAway(err) {
		return err != nil
	}
	message := answer.Error()
	if slices.ContainsFunc(outageReplies, func(reply string) bool { return says(message, reply) }) {
		return true
	}
	// Redis 7 and Redis 6 use different words if this user may not run a command of a
	// script.
	return strings.Contains(message, "can't run this command") || strings.Contains(message, "ACL failure in script")
}

// says reports whether an error reply of Redis begins with a certain word, such as OOM.
// If a reply ended a script, Redis 6 writes other words before the reply.
func says(message, word string) bool {
	return strings.HasPrefix(message, word) || strings.Contains(message, ": -"+word)
}

// writeRefusals has the error replies of a Redis that accepts no writes. A script gets
// such a reply at its first write, so it has changed nothing: after the first write,
// Redis lets a script finish.
var writeRefusals = []string{"OOM", "READONLY", "MISCONF", "NOREPLICAS"}

// IsWriteRefusal reports whether Redis answered that it accepts no writes.
func IsWriteRefusal(answer error) bool {
	return slices.ContainsFunc(writeRefusals, func(word string) bool { return says(answer.Error(), word) })
}

// IsFromScript reports whether the failed command was a command of a script. If so, the
// script may have done a part of its work.
func IsFromScript(answer error) bool {
	var reply redis.Error
	return errors.As(answer, &reply) && containsAny(answer.Error(), "on @user_script", "Error running script")
}

// IsRefusal reports whether a reply concerns one event or its queue, and not all events: a key of
// the queue or of the lock has another type, or the message is larger than Redis accepts. IsRefusal
// returns false for an unknown reply, because that may concern all events.
func IsRefusal(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	message := reply.Error()
	return says(message, "WRONGTYPE") || IsFromScript(err) && strings.Contains(message, ": WRONGTYPE") ||
		strings.HasPrefix(message, "ERR Protocol error: invalid bulk length")
}

// IsForbidden reports whether Redis does not have a command, or does not let this user
// run it, with these keys or at all.
func IsForbidden(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	return strings.HasPrefix(reply.Error(), "NOPERM") || strings.Contains(reply.Error(), "unknown command")
}

// IsForbiddenKey reports whether this user may not use a key. Redis may forbid the keys
// of one queue only. IsForbiddenKey knows the error replies of Redis 7 and Redis 6, in
// scripts and outside of them.
func IsForbiddenKey(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	return containsAny(reply.Error(), "No permissions to access a key", "access one of the keys", "access at least one of the keys")
}

func containsAny(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// IsWithheld reports whether a healthy Redis refused to answer one command, for example
// because its user may not run that command. An empty answer is no refusal.
func IsWithheld(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) || errors.Is(err, redis.Nil) {
		return false
	}
	return strings.HasPrefix(reply.Error(), "NOPERM") || !IsOutage(err)
}

// NoScript is the beginning of the error reply with which Redis says that it does not
// have the script with a hash.
const NoScript = "NOSCRIPT"
