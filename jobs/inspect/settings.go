package inspect

import (
	"context"

	"github.com/redis/go-redis/v9"

	"outboxd/domain/diagnosis/thorough"
	"outboxd/jobs/broker"
)

// readSettings reads the settings of Redis with CONFIG and with INFO. Many servers forbid
// CONFIG, and INFO has most of the settings too.
func readSettings(ctx context.Context, client redis.UniversalClient) (*thorough.RedisSettings, error) {
	// readSettings sends one CONFIG GET for each setting, because only Redis 7 accepts
	// several settings in one command.
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
			return nil, err
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
			return nil, err
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
	return &thorough.RedisSettings{
		MaxMemory: setting("maxmemory"), Policy: setting("maxmemory-policy"), AppendOnly: setting("appendonly"), Save: setting("save"),
	}, nil
}
