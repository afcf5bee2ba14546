// Package notify sends the example's notifications to people: over SMTP, to a webhook, or
// only into a directory and the log. Each sender is a registration.Notifier.
//
// Package notify knows nothing of Asynq, Redis or the database. The caller decides
// whether and when a message is sent again. Every message has the ID of its event, so
// that the receiver can recognise a repeat.
package notify
