package jobs

import (
	"errors"
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

// isOutage tells an outage, which concerns every event, from the refusal of
// one. Whatever is not an answer of Redis is an outage: a connection that
// failed, or an answer that never came, so that nobody knows whether the command
// was carried out.
func isOutage(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return err != nil
	}
	// Redis 6 puts its own words before the reply that ended a script.
	message := answer.Error()
	for _, reply := range outageReplies {
		if strings.HasPrefix(message, reply) || strings.Contains(message, ": -"+reply) {
			return true
		}
	}
	// A command within the script is forbidden: in the words of Redis 7 and 6.
	return strings.Contains(message, "can't run this command") || strings.Contains(message, "ACL failure in script")
}

// isFromScript tells whether a command within a script was what failed, so that
// the script may have done half of its work.
func isFromScript(answer error) bool {
	var reply redis.Error
	return errors.As(answer, &reply) && strings.Contains(answer.Error(), "script")
}
