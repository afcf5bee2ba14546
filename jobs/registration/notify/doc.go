// Package notify sends notifications to people: into a directory and the log,
// over SMTP, or to a webhook. Each sender is a registration.Notifier.
//
// It knows nothing of Asynq, Redis or the database. The caller decides when a
// message is sent again. Every message carries its event's ID, so that the
// receiver can recognise a repeat.
package notify
