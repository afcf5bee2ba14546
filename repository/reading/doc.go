// Package reading answers the heavy queries of the pages and of the commands from a standby
// of PostgreSQL, and from the primary while the standby cannot answer them. Nothing that
// decides or changes something may use this package, because a standby lags.
package reading
