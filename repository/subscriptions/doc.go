// Package subscriptions stores the subscriptions, which say which events go to which
// receivers: it applies, pauses, resumes, removes and replays them. Package repository
// makes the deliveries when it claims events.
package subscriptions
