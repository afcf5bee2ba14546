package pipeline

import "github.com/redis/go-redis/v9"

// directConnections is the number of connections: for one question and one pipeline
// of endings at a time, and for giving tasks back.
const directConnections = 3

// Direct returns a client for Options.Direct. It leads to the server of client over
// connections of its own, without client's retries and hooks. It does not connect
// yet; close it when the server has shut down. For an unknown type of client, Direct
// returns client itself.
func Direct(client redis.UniversalClient) redis.UniversalClient {
	switch c := client.(type) {
	case *redis.Client:
		o := *c.Options()
		o.MaxRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = -1, directConnections, 0, 0, 0
		return redis.NewClient(&o)
	case *redis.ClusterClient:
		o := *c.Options()
		// Redirections are among go-redis's repeats.
		o.MaxRedirects, o.MaxRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = -1, -1, directConnections, 0, 0, 0
		return redis.NewClusterClient(&o)
	default:
		return client
	}
}
