package pipeline

import "github.com/redis/go-redis/v9"

// directConnections are for one question and one pipeline of endings at a time, and
// for what goes back.
const directConnections = 3

// Direct returns a client for Options.Direct, with connections of its own: on the
// server of client, but without its retries and hooks. It does not connect; close it when the
// server has shut down. Where that cannot be done, it is client itself.
func Direct(client redis.UniversalClient) redis.UniversalClient {
	switch c := client.(type) {
	case *redis.Client:
		o := *c.Options()
		o.MaxRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = -1, directConnections, 0, 0, 0
		return redis.NewClient(&o)
	case *redis.ClusterClient:
		o := *c.Options()
		o.MaxRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = -1, directConnections, 0, 0, 0
		return redis.NewClusterClient(&o)
	default:
		return client
	}
}
