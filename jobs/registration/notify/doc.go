// Package notify sends notifications to people: into a directory and the log,
// over SMTP, or to a webhook. Each sender is a registration.Notifier.
//
// It knows nothing of Asynq, Redis or the database. Who calls it decides when a
// message is sent again; every message carries its event's ID, so that the
// receiver can tell a repeat.
package notify
