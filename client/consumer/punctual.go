package consumer

import "github.com/redis/go-redis/v9"

// punctual makes the commands of a new client end at the deadline of their context, and returns the
// client. Without this, go-redis looks only at its own time limits. punctual does not
// make another client, because that one would lack the hooks that a RedisConnOpt may have added.
func punctual(client redis.UniversalClient) redis.UniversalClient {
	switch c := client.(type) {
	case *redis.Client:
		c.Options().ContextTimeoutEnabled = true
	case *redis.ClusterClient:
		c.Options().ContextTimeoutEnabled = true
	}
	return client
}
