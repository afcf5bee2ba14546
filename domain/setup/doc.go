// Package setup has what people set up in the database: subscriptions, which send
// events to receivers over HTTP, and schedules, which emit events again and again.
// The package has the rules that subscriptions and schedules obey, and what pages show of them.
//
// Package setup neither stores subscriptions and schedules nor sends events.
package setup
