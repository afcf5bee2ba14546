// Package subscriptions stores which events go to which receivers: it applies,
// pauses, resumes and removes subscriptions. The claim, in package repository,
// makes the deliveries.
package subscriptions
