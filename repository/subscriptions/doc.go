// Package subscriptions keeps which events go to which receivers: applying them
// from a file, pausing, resuming and removing them. The deliveries themselves are
// made by the claim, in package repository.
package subscriptions
