package jobs

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Answers by which Redis says that it cannot serve anybody right now. They are
// the prefixes of its error replies.
var outageReplies = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK",
	"OOM", "MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED",
	"NOAUTH", "WRONGPASS", "NOPERM", "ERR max number of clients reached",
}

// isRedisUnavailable tells an outage, which concerns every event, from the
// refusal of one. An answer that never came belongs to the outages: whether the
// command was carried out is unknown.
//
// Asynq and Redis's scripts wrap replies in text of their own, so the prefixes
// are looked for as words within the message.
func isRedisUnavailable(err error) bool {
	var network net.Error
	switch {
	case err == nil:
		return false
	case errors.As(err, &network),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, redis.ErrClosed), errors.Is(err, redis.ErrPoolTimeout),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return true
	}
	message := err.Error()
	for _, reply := range outageReplies {
		if at := strings.Index(message, reply); at >= 0 && (at == 0 || message[at-1] == ' ' || message[at-1] == '-') {
			return true
		}
	}
	return false
}
