// Package reading answers the heavy queries of the pages and of the commands from a standby
// of PostgreSQL, and from the primary while the standby cannot answer them. A query whose
// answer decides or changes something must not go to the standby, because a standby lags.
package reading
