// Package lost is how a loss of data is told: that Redis is not the one that took
// the events, or not with all of them; that PostgreSQL went back to an earlier state;
// that a single task is missing. What is done about it is decided in relay/lead.
package lost
