// Package lost has the types with which outboxd detects a loss of data: Redis was replaced or lost its data,
// PostgreSQL went back to an earlier state, or a single task is missing. Package relay/lead decides what to do
// about a loss.
package lost
