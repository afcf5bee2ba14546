package lost

// Why the leader sends unconfirmed events again. The database stores the text of the reason.
const (
	QueueEmptied        = "Redis was emptied without a restart, as FLUSHALL does, or the canary in it was deleted"
	QueueRestartedEmpty = "Redis was restarted without its data, or is another Redis"
	CanaryGone          = "the canary in Redis is gone: Redis was emptied, was restarted without its data, or is another one"
	QueueOlder          = "Redis was restarted with older data, a replica without the last writes took over, or it is another Redis"
	CanaryOther         = "the canary in Redis is not the last one: older data was restored without a restart, or somebody else writes the canary too"
	CanaryBefore        = "Redis has the previous canary: a relay was killed while it renewed the canary, or older data was restored without a restart"
	QueueRestarted      = "Redis was restarted and still has the canary, or another server took over"
	ReplicaTookOver     = "a replica of Redis took over, or Redis began to have replicas"
	MasterEmptied       = "a master of the Redis Cluster has lost its canaries: it was emptied, was restarted without its data, or is another one"
	MasterOther         = "a master of the Redis Cluster was restarted, was added or removed, or a replica took over"
	DatabaseOther       = "PostgreSQL is another cluster: it was restored from a dump, or moved"
	TimelineOther       = "PostgreSQL is on another timeline: a standby took over, or it was recovered to a point in time"
)

// OfDatabase reports whether a reason is that PostgreSQL may have gone back to an earlier state, as
// DatabaseIdentity.Change says it.
func OfDatabase(reason string) bool { return reason == DatabaseOther || reason == TimelineOther }
