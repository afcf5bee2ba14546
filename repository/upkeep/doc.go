// Package upkeep is the housekeeping of the tables, which the leader does:
// partitions and trimming, the account, ordering keys that stand still,
// samples, and the choice of the leader. Package heal sends events again.
package upkeep
