package daemon

import (
	"outboxd/domain/registration"
	"outboxd/jobs/work"
)

// ownHandlers returns the handler of each event type, except the example's. A
// new handler is a line here; CONTRIBUTING.md shows how to write one.
func ownHandlers() map[string]work.Handler {
	return map[string]work.Handler{}
}

// ownBatches returns the batch handler of each event type that has one instead of a
// handler.
func ownBatches() map[string]work.Batch {
	return map[string]work.Batch{}
}

// outward returns this worker's handlers that act outside the database.
func (d *Daemon) outward() (map[string]work.Outward, error) {
	if d.cfg.RunsExample() {
		return d.exampleSenders()
	}
	return nil, nil
}

// outwardTypes returns the types of all handlers of this build that act outside the
// database, also of those that this process does not run.
func outwardTypes() []string { return []string{registration.TypeSendNotification} }

// HandledTypes returns the types that a worker of this build has a handler for,
// each with the flag that the worker needs for it; "": none.
func HandledTypes() map[string]string {
	types := map[string]string{registration.TypeSendNotification: "--example=on"}
	for name := range ownHandlers() {
		types[name] = ""
	}
	for name := range ownBatches() {
		types[name] = ""
	}
	return types
}
