package inspect

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// redisCondition is how Redis does, in the words of INFO. A field is empty where
// Redis does not tell.
type redisCondition map[string]string

func readCondition(ctx context.Context, client redis.UniversalClient) (redisCondition, error) {
	// Each section for itself: a list of them is for Redis 7.
	pipe := client.Pipeline()
	sections := []*redis.StringCmd{
		pipe.Info(ctx, "server"), pipe.Info(ctx, "memory"), pipe.Info(ctx, "persistence"), pipe.Info(ctx, "replication"), pipe.Info(ctx, "clients"),
	}
	_, _ = pipe.Exec(ctx)
	condition := redisCondition{}
	for _, section := range sections {
		if err := section.Err(); err != nil {
			if broker.IsWithheld(err) {
				continue
			}
			return nil, err
		}
		maps.Copy(condition, broker.ParseInfo(section.Val()))
	}
	return condition, nil
}

// number returns a field, 0 if it is not told.
func (c redisCondition) number(name string) int64 {
	n, _ := strconv.ParseInt(c[name], 10, 64)
	return n
}

func (c redisCondition) findings() (found []domain.Finding) {
	for _, look := range []func() *domain.Finding{c.version, c.memory, c.disk, c.role, c.connections} {
		if f := look(); f != nil {
			found = append(found, *f)
		}
	}
	return found
}

// Asynq's scripts, and the options of the commands that outboxd adds to them, need Redis 6.2.
// Valkey reports the version of Redis that it is compatible with.
func (c redisCondition) version() *domain.Finding {
	major, rest, _ := strings.Cut(c["redis_version"], ".")
	minor, _, _ := strings.Cut(rest, ".")
	first, err := strconv.Atoi(major)
	second, _ := strconv.Atoi(minor)
	if err != nil || first > 6 || first == 6 && second >= 2 {
		return nil
	}
	return &domain.Finding{
		Code: "redis-version", Level: domain.FindingWarning,
		Found:       "Redis is version " + c["redis_version"] + ", older than 6.2",
		Consequence: "commands of outboxd and Asynq may fail",
		Remedy:      "upgrade Redis, or use Valkey",
	}
}

// What is nearly full: a limit of Redis's own, and the machine.
const (
	fullPercent    = 80
	crowdedPercent = 60 // of the machine, since a rewrite of the append-only file may need as much again for a while
)

func (c redisCondition) memory() *domain.Finding {
	used, limit, machine := c.number("used_memory"), c.number("maxmemory"), c.number("total_system_memory")
	switch {
	case limit > 0 && used*100 >= limit*fullPercent:
		return &domain.Finding{
			Code: "redis-memory", Level: domain.FindingWarning,
			Found:       fmt.Sprintf("Redis uses %d of the %d MiB of its maxmemory", used>>20, limit>>20),
			Consequence: "once it is full it refuses tasks, and relaying pauses as in an outage, or it evicts them",
			Remedy:      "redis-cli CONFIG SET maxmemory to more, run more workers, or bound the queues with --relay-max-queue so that events wait in PostgreSQL",
		}
	case limit == 0 && machine > 0 && used*100 >= machine*crowdedPercent:
		return &domain.Finding{
			Code: "redis-memory", Level: domain.FindingWarning,
			Found:       fmt.Sprintf("Redis has no maxmemory and uses %d of the machine's %d MiB", used>>20, machine>>20),
			Consequence: "the kernel may kill it when memory is short, or a snapshot fails for want of memory",
			Remedy:      "redis-cli CONFIG SET maxmemory, with maxmemory-policy noeviction, run more workers, or bound the queues with --relay-max-queue",
		}
	}
	return nil
}

func (c redisCondition) disk() *domain.Finding {
	var what string
	switch {
	case c["aof_last_write_status"] == "err":
		what = "the last write to its append-only file"
	case c["rdb_last_bgsave_status"] == "err":
		what = "its last snapshot"
	case c["aof_last_bgrewrite_status"] == "err":
		what = "the last rewrite of its append-only file"
	default:
		return nil
	}
	return &domain.Finding{
		Code: "redis-disk", Level: domain.FindingWarning,
		Found:       "Redis says that " + what + " failed",
		Consequence: "it may refuse writes (MISCONF), and a restart loses what was not written; outboxd sends that again",
		Remedy:      "look into Redis's log, and for a full disk; then redis-cli BGSAVE or BGREWRITEAOF",
	}
}

func (c redisCondition) role() *domain.Finding {
	switch c["role"] {
	case "", "master":
		return nil
	}
	return &domain.Finding{
		Code: "redis-read-only", Level: domain.FindingWarning,
		Found:       "Redis is a replica and takes no tasks",
		Consequence: "nothing is relayed, and no worker can take a task",
		Remedy:      "name the master in --redis-url, or Redis Sentinel (redis-sentinel://host:26379?master=name)",
	}
}

func (c redisCondition) connections() *domain.Finding {
	used, limit := c.number("connected_clients"), c.number("maxclients")
	if limit == 0 || used*10 < limit*9 {
		return nil
	}
	return &domain.Finding{
		Code: "redis-connections", Level: domain.FindingWarning,
		Found:       fmt.Sprintf("%d of the %d connections that maxclients allows are in use", used, limit),
		Consequence: "whoever connects next is refused, and relaying pauses as in an outage",
		Remedy:      "redis-cli CONFIG SET maxclients to more, and look at redis-cli CLIENT LIST",
	}
}
