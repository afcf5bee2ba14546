package chaos_test

import (
	"testing"

	"outboxd/app/chaos"
	"outboxd/repository/repositorytest"
)

// directly are servers without a network that could be broken.
func directly(postgres *repositorytest.PostgresServer, redis *repositorytest.RedisServer) chaos.Servers {
	return chaos.Servers{
		Database: postgres.URL(), AdminDatabase: postgres.URL(), Redis: redis.URL(), AdminRedis: redis.URL(),
		Postgres: postgres, RedisServer: redisServer{redis},
	}
}

// viaNetwork are the same servers, reached through proxies.
func viaNetwork(t *testing.T, s chaos.Servers) chaos.Servers {
	t.Helper()
	database, redis := repositorytest.Proxy(t, s.AdminDatabase), repositorytest.Proxy(t, s.AdminRedis)
	s.Database, s.PostgresNetwork = database.URL(), network{database}
	s.Redis, s.RedisNetwork = redis.URL(), network{redis}
	return s
}

// network is a proxy as a chaos.Network.
type network struct{ *repositorytest.ProxyServer }

func (n network) Break(at chaos.Position, skip int, hold bool) func() bool {
	position := map[chaos.Position]repositorytest.Position{
		chaos.BeforeRequest: repositorytest.BeforeRequest,
		chaos.AfterRequest:  repositorytest.AfterRequest,
		chaos.WithinReply:   repositorytest.WithinReply,
	}[at]
	return n.Arm(repositorytest.Trap{At: position, Skip: skip, Hold: hold})
}

// redisServer is a Redis as a chaos.Memory.
type redisServer struct{ *repositorytest.RedisServer }

func (s redisServer) Stop()   { s.Kill() }
func (s redisServer) Forget() { s.Flush() }
