package env

import (
	"testing"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
)

func TestWithSchema(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://ada:secret@localhost:5432/name",
		"postgres://ada:secret@localhost:5432,127.0.0.1:5433/name?search_path=other&application_name=x",
		"postgresql:///name?host=/run/postgresql&port=5432",
		"host=localhost dbname=name user=ada password=secret search_path=other",
	} {
		with, err := withSchema(address, "bench")
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		before, err := pgx.ParseConfig(address)
		if err != nil {
			t.Fatal(err)
		}
		after, err := pgx.ParseConfig(with)
		if err != nil {
			t.Errorf("%s: %v", with, err)
			continue
		}
		if after.RuntimeParams["search_path"] != "bench" || after.RuntimeParams["application_name"] != "outboxd-bench" {
			t.Errorf("%s has %v", with, after.RuntimeParams)
		}
		if after.Host != before.Host || after.Port != before.Port || after.Database != before.Database || after.Password != before.Password ||
			len(after.Fallbacks) != len(before.Fallbacks) {
			t.Errorf("%s leads elsewhere than %s", with, address)
		}
	}
}

func TestWithRedisDB(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"redis://ada:secret@localhost:6379/3":      "redis://ada:secret@localhost:6379/15",
		"rediss://localhost":                       "rediss://localhost/15",
		"redis-socket:///run/redis/socket?db=2":    "redis-socket:///run/redis/socket?db=15",
		"redis-socket://:secret@/run/redis/socket": "redis-socket://:secret@/run/redis/socket?db=15",
	} {
		got, opt, err := withRedisDB(address, 15)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", address, got, err, want)
			continue
		}
		if o, ok := opt.(asynq.RedisClientOpt); !ok || o.DB != 15 {
			t.Errorf("%s leads to %+v", got, opt)
		}
	}
	if _, _, err := withRedisDB("redis-sentinel://localhost:26379?master=m", 15); err == nil {
		t.Error("a sentinel was accepted")
	}
}
