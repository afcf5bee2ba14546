package inspect

import (
	"context"
	"maps"
	"strconv"

	"github.com/redis/go-redis/v9"

	"outboxd/domain/diagnosis/thorough"
	"outboxd/jobs/broker"
)

// readCondition reads the state of Redis with the command INFO.
func readCondition(ctx context.Context, client redis.UniversalClient) (*thorough.RedisCondition, error) {
	// readCondition sends one INFO for each section, because only Redis 7 accepts several
	// sections in one command.
	pipe := client.Pipeline()
	sections := []*redis.StringCmd{
		pipe.Info(ctx, "server"), pipe.Info(ctx, "memory"), pipe.Info(ctx, "persistence"), pipe.Info(ctx, "replication"), pipe.Info(ctx, "clients"),
	}
	_, _ = pipe.Exec(ctx)
	info := map[string]string{}
	for _, section := range sections {
		if err := section.Err(); err != nil {
			if broker.IsWithheld(err) {
				continue
			}
			return nil, err
		}
		maps.Copy(info, broker.ParseInfo(section.Val()))
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(info[name], 10, 64) // 0 if Redis does not tell
		return n
	}
	return &thorough.RedisCondition{
		Version:    info["redis_version"],
		UsedMemory: number("used_memory"), MaxMemory: number("maxmemory"), MachineBytes: number("total_system_memory"),
		AppendFailed: info["aof_last_write_status"] == "err", SnapshotFailed: info["rdb_last_bgsave_status"] == "err",
		RewriteFailed: info["aof_last_bgrewrite_status"] == "err",
		Role:          info["role"],
		Clients:       number("connected_clients"), MaxClients: number("maxclients"),
	}, nil
}
