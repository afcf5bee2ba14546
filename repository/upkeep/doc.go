// Package upkeep is the housekeeping of the tables, which one relay does, the
// leader: partitions and trimming, the account, ordering keys that stand still,
// samples, and who leads. Sending events again is not part of it; see heal.
package upkeep
