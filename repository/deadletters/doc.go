// Package deadletters records the tasks for which the worker stopped trying, lists and
// groups dead letters, and replays and discards them. An event that the relay cannot
// publish becomes a dead letter when its batch is settled, in package repository.
package deadletters
