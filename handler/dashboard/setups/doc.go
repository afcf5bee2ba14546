// Package setups has the pages about what people set up in the database: subscriptions and schedules. Schedules can be
// paused and resumed here. All other changes of schedules and subscriptions are for commands.
package setups
