package broker

import (
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// outageReplies are prefixes of error replies by which Redis says that it
// serves nobody now.
var outageReplies = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK",
	"OOM", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED",
	"NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients reached",
}

// IsOutage reports whether an error is an outage, which concerns every event,
// and not the refusal of one event. An error that is no answer of Redis is an
// outage: a connection failed, or an answer never came, so it is not known
// whether Redis executed the command.
func IsOutage(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) || isTurnedAway(err) {
		return err != nil
	}
	message := answer.Error()
	if slices.ContainsFunc(outageReplies, func(reply string) bool { return says(message, reply) }) {
		return true
	}
	// A command in the script is forbidden, in the words of Redis 7 and of
	// Redis 6.
	return strings.Contains(message, "can't run this command") || strings.Contains(message, "ACL failure in script")
}

// says reports whether an answer begins with a word of Redis. Redis 6 puts
// other words before the reply that ended a script.
func says(message, word string) bool {
	return strings.HasPrefix(message, word) || strings.Contains(message, ": -"+word)
}

// writeRefusals are the answers of a Redis that accepts no writes. A script gets
// one at its first write, so it has done nothing: after a first write Redis lets
// a script finish.
var writeRefusals = []string{"OOM", "READONLY", "MISCONF", "NOREPLICAS"}

// IsWriteRefusal reports whether an answer comes from a Redis that accepts no
// writes.
func IsWriteRefusal(answer error) bool {
	return slices.ContainsFunc(writeRefusals, func(word string) bool { return says(answer.Error(), word) })
}

// IsFromScript reports whether a command in a script failed. The script may
// have done half of its work.
func IsFromScript(answer error) bool {
	var reply redis.Error
	return errors.As(answer, &reply) && containsAny(answer.Error(), "on @user_script", "Error running script")
}

// IsRefusal reports whether an answer concerns one event alone: a key of its
// queue or its lock has another type, or its message is larger than Redis
// accepts. It returns false for unknown answers, which may concern all events.
func IsRefusal(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	message := reply.Error()
	return says(message, "WRONGTYPE") || IsFromScript(err) && strings.Contains(message, ": WRONGTYPE") ||
		strings.HasPrefix(message, "ERR Protocol error: invalid bulk length")
}

// IsForbidden reports whether Redis does not know a command, or does not let
// this user run it.
func IsForbidden(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	return strings.HasPrefix(reply.Error(), "NOPERM") || strings.Contains(reply.Error(), "unknown command")
}

// IsForbiddenKey reports whether this user may not use a key, perhaps of one
// queue only. It knows the words of Redis 7 and 6, in and outside of scripts.
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

// IsWithheld reports whether a healthy server refused to answer this question.
func IsWithheld(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	return strings.HasPrefix(reply.Error(), "NOPERM") || !IsOutage(err)
}

// IsTimeout reports whether an answer did not come in time.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// NoScript begins Redis's answer if it does not know a script by its hash.
const NoScript = "NOSCRIPT"
