// Package subscriptions stores the subscriptions, which say which events go to which
// receivers: it applies, pauses, resumes and removes them, and replays events to them.
// Package repository makes all other deliveries, when it claims events.
package subscriptions
