// Package deadletters records the tasks that the worker gave up, lists and groups
// dead letters, and replays and discards them. Events that the relay gives up become
// dead letters when their batch is settled, in package repository.
package deadletters
