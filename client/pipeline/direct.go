package pipeline

import (
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// directConnections is the number of connections. One connection is for taking
// tasks, one for the pipelines that finish tasks, and one for giving tasks back.
const directConnections = 3

// Direct returns a client for Options.Direct. The new client connects to the same
// server as client, over its own connections, without retries, without hooks, and
// without notices of maintenance, whose handlers can belong to one client only. Direct
// does not connect yet. Close the new client when the Asynq server has shut down. If
// Direct does not know the type of client, it returns client itself.
func Direct(client redis.UniversalClient) redis.UniversalClient {
	switch c := client.(type) {
	case *redis.Client:
		o := *c.Options()
		o.PushNotificationProcessor, o.MaintNotificationsConfig = nil, withoutNotices()
		o.MaxRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = -1, directConnections, 0, 0, 0
		return redis.NewClient(&o)
	case *redis.ClusterClient:
		o := *c.Options()
		o.PushNotificationProcessor, o.MaintNotificationsConfig = nil, withoutNotices()
		// Following redirections also repeats commands, so switch that off, too.
		o.MaxRedirects, o.MaxRetries, o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = -1, -1, directConnections, 0, 0, 0
		return redis.NewClusterClient(&o)
	default:
		return client
	}
}

// withoutNotices is the configuration of a client that asks for no notices of maintenance.
func withoutNotices() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
