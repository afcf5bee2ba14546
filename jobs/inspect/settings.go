package inspect

import (
	"context"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// redisSettings are what decides whether Redis keeps a queue. A field is nil
// where Redis does not tell.
type redisSettings struct {
	maxMemory, policy *string
	appendOnly        *string // yes or no
	save              *string // the save points; empty: none
}

// readSettings asks for the settings and, because CONFIG is forbidden at many
// places, also for the statistics, which repeat most of them.
func readSettings(ctx context.Context, client redis.UniversalClient) (redisSettings, error) {
	// One question for each setting: a list is for Redis 7.
	names := []string{"maxmemory", "maxmemory-policy", "appendonly", "save"}
	pipe := client.Pipeline()
	answers := make([]*redis.MapStringStringCmd, len(names))
	for i, name := range names {
		answers[i] = pipe.ConfigGet(ctx, name)
	}
	sections := []*redis.StringCmd{pipe.Info(ctx, "memory"), pipe.Info(ctx, "persistence")}
	_, _ = pipe.Exec(ctx)

	told := map[string]string{}
	for _, section := range sections {
		if err := section.Err(); err != nil && !broker.IsWithheld(err) {
			return redisSettings{}, err
		}
		info := broker.ParseInfo(section.Val())
		for name, inInfo := range map[string]string{"maxmemory": "maxmemory", "maxmemory-policy": "maxmemory_policy", "appendonly": "aof_enabled"} {
			if value, found := info[inInfo]; found {
				told[name] = value
			}
		}
		switch told["appendonly"] {
		case "0":
			told["appendonly"] = "no"
		case "1":
			told["appendonly"] = "yes"
		}
	}
	for i, name := range names {
		if err := answers[i].Err(); err != nil && !broker.IsWithheld(err) {
			return redisSettings{}, err
		}
		if value, found := answers[i].Val()[name]; found {
			told[name] = value
		}
	}
	setting := func(name string) *string {
		if value, found := told[name]; found {
			return &value
		}
		return nil
	}
	return redisSettings{
		maxMemory: setting("maxmemory"), policy: setting("maxmemory-policy"), appendOnly: setting("appendonly"), save: setting("save"),
	}, nil
}

const noEviction = "noeviction"

// What the Redis inside the process is worth.
var redisInProcess = domain.Finding{
	Code: "redis-in-process", Level: domain.FindingWarning,
	Found:       "Redis runs inside outboxd itself and forgets its queue at exit",
	Consequence: "what was not done by then is sent again at the next start",
	Remedy:      "install redis-server, or give --redis-url",
}

func (s redisSettings) findings() []domain.Finding {
	var found []domain.Finding
	add := func(f *domain.Finding) {
		if f != nil {
			found = append(found, *f)
		}
	}
	add(s.eviction())
	add(s.persistence())
	add(s.unknown())
	return found
}

func (s redisSettings) eviction() *domain.Finding {
	const remedy = "redis-cli CONFIG SET maxmemory-policy " + noEviction + ", and the same in redis.conf"
	switch {
	case s.policy == nil || *s.policy == noEviction:
		return nil
	case s.maxMemory != nil && *s.maxMemory == "0":
		return &domain.Finding{
			Code: "redis-eviction-policy", Level: domain.FindingNote,
			Found:       "Redis has the maxmemory-policy " + *s.policy + ", and no maxmemory that would make it effective",
			Consequence: "should somebody set maxmemory, Redis may drop tasks that wait",
			Remedy:      remedy,
		}
	default:
		return &domain.Finding{
			Code: "redis-evicts", Level: domain.FindingWarning,
			Found:       "Redis may evict keys: its maxmemory-policy is " + *s.policy,
			Consequence: "once it is full it drops tasks that wait, and says so to nobody",
			Remedy:      remedy,
		}
	}
}

func (s redisSettings) persistence() *domain.Finding {
	const remedy = "redis-cli CONFIG SET appendonly yes, and the same in redis.conf"
	switch {
	case s.appendOnly == nil || *s.appendOnly != "no" || s.save == nil:
		return nil
	case *s.save == "":
		return &domain.Finding{
			Code: "redis-keeps-nothing", Level: domain.FindingWarning,
			Found:       "Redis keeps nothing on disk: it has no append-only file and no save points",
			Consequence: "a restart loses every task that waits; those from the outbox are then sent again, as long as the history reaches back",
			Remedy:      remedy,
		}
	default:
		return &domain.Finding{
			Code: "redis-snapshots-only", Level: domain.FindingNote,
			Found:       "Redis keeps snapshots and no append-only file",
			Consequence: "a crash loses the tasks since the last snapshot; those from the outbox are then sent again",
			Remedy:      remedy,
		}
	}
}

func (s redisSettings) unknown() *domain.Finding {
	var what string
	switch {
	case s.policy == nil && s.appendOnly == nil:
		what = "whether Redis may evict keys, and whether it keeps them on disk"
	case s.policy == nil:
		what = "whether Redis may evict keys"
	case s.appendOnly == nil:
		what = "whether Redis keeps its keys on disk"
	case *s.appendOnly == "no" && s.save == nil:
		what = "whether Redis, which has no append-only file, keeps snapshots"
	default:
		return nil
	}
	return &domain.Finding{
		Code: "redis-settings-hidden", Level: domain.FindingNote,
		Found:       "it could not be found out " + what,
		Consequence: "a queue needs maxmemory-policy " + noEviction + " and an append-only file",
		Remedy:      "look at the settings where Redis is managed, or let its user run CONFIG GET or INFO",
	}
}
