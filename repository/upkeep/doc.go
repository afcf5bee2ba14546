// Package upkeep does the housekeeping of the tables, which is the leader's work: it
// makes and drops partitions, deletes old rows, keeps the account, restarts ordering keys
// that stand still, and writes samples. It also chooses the leader. Package heal sends
// events again.
package upkeep
