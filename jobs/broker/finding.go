package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

// impediment is a reason why outboxd cannot work with Redis, and what to do about it.
type impediment struct {
	words   []string // Redis's answer has one of them
	finding domain.Finding
}

// AnswerUnknown is the code of the finding for a reply that outboxd does not know.
const AnswerUnknown = "redis-answer"

// waits is the consequence that the finding of every impediment states.
const waits = "events wait in the outbox, and no attempt is charged to them"

// FindingOf tries the impediments in this order, because a reply about a missing right may contain
// words of other impediments.
var impediments = []impediment{
	{[]string{"WRONGPASS", "NOAUTH", "invalid username-password pair", "invalid password", "without any password configured", "no password is set", "failed to authenticate"}, domain.Finding{
		Code:   "redis-credentials",
		Found:  "Redis does not accept the user name and the password",
		Remedy: "correct --redis-url or what --redis-password-file names, or the user in Redis (ACL SETUSER NAME on '>PASSWORD'); a process with an old URL needs a restart, and a changed file none; ACL LOG shows who was turned away",
	}},
	{[]string{"NOPERM", "can't run this command", "ACL failure in script", "No permissions to access", "can't access at least one of the keys"}, domain.Finding{
		Code:   "redis-rights",
		Found:  "Redis does not let its user do what is needed",
		Remedy: "redis-cli ACL SETUSER NAME +@all -@dangerous +info +select '~asynq:*' '&asynq:*' gives what outboxd and Asynq need; ACL LOG names what was refused",
	}},
	{[]string{"DB index is out of range", "invalid DB index", "SELECT is not allowed"}, domain.Finding{
		Code:   "redis-database",
		Found:  "the Redis URL names a database that this Redis does not have",
		Remedy: "name another in --redis-url, such as /0, or raise databases in redis.conf",
	}},
	{[]string{"unknown command", "unknown subcommand", NoScript, "Unknown Redis command called from script"}, domain.Finding{
		Code:   "redis-command",
		Found:  "Redis does not know a command that is needed, or does not keep a script",
		Remedy: "take rename-command out of redis.conf, or connect to a Redis or Valkey of version 6.2 or later",
	}},
	{[]string{"cluster support disabled"}, domain.Finding{
		Code:   "redis-cluster",
		Found:  "this Redis is not a cluster",
		Remedy: "begin --redis-url with redis:// and name only this server, or rediss:// with TLS",
	}},
	{[]string{"CROSSSLOT", "MOVED", "ASK ", "CLUSTERDOWN", "TRYAGAIN"}, domain.Finding{
		Code:   "redis-cluster",
		Found:  "this is a node of a Redis Cluster, or a slot of the cluster moves or has no node",
		Remedy: "begin --redis-url with redis-cluster:// and name some of its nodes; redis-cli --cluster check HOST:PORT says what the cluster lacks",
		Outage: true,
	}},
	{[]string{"READONLY", "MASTERDOWN"}, domain.Finding{
		Code:   "redis-read-only",
		Found:  "Redis is a replica and takes no writes",
		Remedy: "name the master in --redis-url, or Sentinels; after a failover relaying goes on by itself",
		Outage: true,
	}},
	{[]string{"OOM"}, domain.Finding{
		Code:   "redis-memory",
		Found:  "Redis has reached its maxmemory and takes no more tasks",
		Remedy: "redis-cli CONFIG SET maxmemory to more, run more workers, or bound the queues with --relay-max-queue",
		Outage: true,
	}},
	{[]string{"MISCONF"}, domain.Finding{
		Code:   "redis-disk",
		Found:  "Redis cannot save its data to disk and so takes no writes",
		Remedy: "look at Redis's log and for a full disk",
		Outage: true,
	}},
	{[]string{"NOREPLICAS"}, domain.Finding{
		Code:   "redis-replicas",
		Found:  "Redis has fewer replicas than its min-replicas-to-write asks for",
		Remedy: "start or mend replicas, or lower min-replicas-to-write",
		Outage: true,
	}},
	{[]string{"max number of clients reached"}, domain.Finding{
		Code:   "redis-connections",
		Found:  "Redis takes no more connections",
		Remedy: "redis-cli CONFIG SET maxclients to more",
		Outage: true,
	}},
	{[]string{"LOADING"}, domain.Finding{
		Code:   "redis-loading",
		Found:  "Redis is loading its data from disk",
		Remedy: "wait: relaying goes on by itself",
		Outage: true,
	}},
	{[]string{"BUSY"}, domain.Finding{
		Code:   "redis-busy",
		Found:  "a script keeps Redis busy",
		Remedy: "redis-cli SCRIPT KILL, and find whose script it is",
		Outage: true,
	}},
}

// commandNames finds the name of a command in a reply of Redis. Such a name is no secret.
var commandNames = regexp.MustCompile("(?i)(?:run the|unknown command) ['`]?([a-z|]{1,40})\\b")

// FindingOf returns the finding for an error of Redis, of a server that answers in its place, or of the connection to
// it. It returns false for all other errors, such as the end of this process, and for nil.
func FindingOf(err error) (domain.Finding, bool) {
	if err == nil {
		return domain.Finding{}, false
	}
	if isStrange(err) {
		return domain.Finding{
			Code: AnswerUnknown, Level: domain.FindingBroken, Found: "what answers in Redis's place gives answers that Redis never gives", Consequence: waits,
			Remedy: "look what stands between outboxd and Redis, such as a proxy, and connect to Redis itself",
		}, true
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return unreachable(err)
	}
	message := reply.Error()
	for _, i := range impediments {
		if containsAny(message, i.words...) {
			f := i.finding
			f.Level, f.Consequence = domain.FindingBroken, waits
			if name := commandNames.FindStringSubmatch(message); name != nil {
				f.Found += fmt.Sprintf(" (%s)", strings.ToUpper(name[1]))
			}
			return f, true
		}
	}
	return domain.Finding{
		Code: AnswerUnknown, Level: domain.FindingBroken, Found: "Redis answers with an error that outboxd does not know", Consequence: waits,
		Remedy: "the log has its words: look at Redis, and what stands between",
	}, true
}

// unreachable returns the finding for an error of a connection (see domain.CodeRedisUnreachable).
func unreachable(err error) (domain.Finding, bool) {
	f := diagnosis.Unusable(diagnosis.Redis, nil)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, redis.ErrClosed):
		return domain.Finding{}, false
	case redisreply.IsTimeout(err):
		f.Found = "Redis does not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Found = "Redis, or what stands before it, has closed the connection"
	case !isOfNetwork(err):
		return domain.Finding{}, false
	}
	return f, true
}

func isOfNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, net.ErrClosed)
}

// isStrange reports whether a reply is impossible for its command: it is empty, or has an
// impossible type or value.
func isStrange(err error) bool {
	if _, strange := errors.AsType[redisreply.Unexpected](err); strange || errors.Is(err, redis.Nil) {
		return true
	}
	return containsAny(err.Error(), "redis: can't parse", "redis: unexpected type", "redis: invalid reply", "redis: the length of the array")
}

// Unavailable wraps an error of Redis with domain.CodeUnavailable and, if FindingOf
// returns one, with a finding. tried says what failed. If err already has that code,
// Unavailable returns err unchanged.
func Unavailable(tried string, err error) error {
	if domain.ErrorCode(err) == domain.CodeUnavailable {
		return err
	}
	e := domain.Wrap(domain.CodeUnavailable, fmt.Errorf("%s: %w", tried, err), "the queue is unavailable")
	if f, found := FindingOf(err); found {
		e.Finding, e.Message = &f, e.Message+": "+f.String()
	}
	return e
}
