package broker

import (
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// outageReplies are the answers by which Redis says that it cannot serve
// anybody right now: prefixes of its error replies.
var outageReplies = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK",
	"OOM", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED",
	"NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients reached",
}

// IsOutage tells an outage, which concerns every event, from the refusal of
// one. Whatever is not an answer of Redis is an outage: a connection that
// failed, or an answer that never came, so that nobody knows whether the command
// was carried out.
func IsOutage(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) || isTurnedAway(err) {
		return err != nil
	}
	message := answer.Error()
	if slices.ContainsFunc(outageReplies, func(reply string) bool { return says(message, reply) }) {
		return true
	}
	// A command within the script is forbidden: in the words of Redis 7 and 6.
	return strings.Contains(message, "can't run this command") || strings.Contains(message, "ACL failure in script")
}

// says tells whether an answer begins with a word of Redis's. Redis 6 puts its
// own words before the reply that ended a script.
func says(message, word string) bool {
	return strings.HasPrefix(message, word) || strings.Contains(message, ": -"+word)
}

// writeRefusals are the answers of a Redis that takes no writes at all. A script
// gets one for its first write, and has then done nothing: once it has written,
// Redis lets it end.
var writeRefusals = []string{"OOM", "READONLY", "MISCONF", "NOREPLICAS"}

// IsWriteRefusal tells whether an answer is that of a Redis that takes no writes.
func IsWriteRefusal(answer error) bool {
	return slices.ContainsFunc(writeRefusals, func(word string) bool { return says(answer.Error(), word) })
}

// IsFromScript tells whether a command within a script was what failed, so that
// the script may have done half of its work.
func IsFromScript(answer error) bool {
	var reply redis.Error
	return errors.As(answer, &reply) && containsAny(answer.Error(), "on @user_script", "Error running script")
}

// IsRefusal tells an answer that is about one event alone from one that may
// concern all: a key of its queue or its lock holds something else, or its
// message is larger than Redis takes. What is not known is not held against
// the event.
func IsRefusal(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	message := reply.Error()
	return says(message, "WRONGTYPE") || IsFromScript(err) && strings.Contains(message, ": WRONGTYPE") ||
		strings.HasPrefix(message, "ERR Protocol error: invalid bulk length")
}

// IsForbidden tells that Redis does not know a command, or does not let this
// user run it.
func IsForbidden(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	return strings.HasPrefix(reply.Error(), "NOPERM") || strings.Contains(reply.Error(), "unknown command")
}

// IsForbiddenKey tells that this user may not use a key, which may be that of one
// queue: in the words of Redis 7 and 6, by itself or within a script.
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

// IsWithheld tells the reply of a server that answers, and will not answer this.
func IsWithheld(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || isTurnedAway(err) {
		return false
	}
	return strings.HasPrefix(reply.Error(), "NOPERM") || !IsOutage(err)
}

// IsTimeout tells an answer that did not come in time.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// NoScript is how Redis says that it does not know a script by its hash.
const NoScript = "NOSCRIPT"
