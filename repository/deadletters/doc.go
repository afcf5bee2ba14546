// Package deadletters keeps what was given up: tasks that the worker gave up,
// their list and groups, replaying and discarding. What the relay gives up becomes a
// dead letter where its batch is settled, in repository.
package deadletters
