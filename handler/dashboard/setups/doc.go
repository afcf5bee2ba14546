// Package setups has the pages about what people set up in the database: subscriptions and schedules. Schedules can be
// paused here; everything else about them is for commands.
package setups
