package daemon

import (
	"outboxd/config"
	"outboxd/domain/registration"
	"outboxd/jobs/work"
	"outboxd/repository"
)

// ownHandlers returns the handlers of this build by event type, without those of
// the example. To add a handler, add a line here; CONTRIBUTING.md shows how to
// write one.
func ownHandlers() map[string]work.Handler {
	return map[string]work.Handler{}
}

// ownBatches returns the batch handlers, by event type. An event type must not have both a
// handler and a batch handler.
func ownBatches() map[string]work.Batch {
	return map[string]work.Batch{}
}

// outward returns this worker's handlers that act outside the database. A handler that
// reads from the database does so within the bound of the worker's connections.
func (d *Daemon) outward(bound *repository.Bound) (map[string]work.Outward, error) {
	if d.cfg.RunsExample() {
		return d.exampleSenders(bound)
	}
	return nil, nil
}

// HandlersOf returns which kinds of handlers the worker of a process with this
// configuration has.
func HandlersOf(cfg *config.Config) config.Handlers {
	return config.Handlers{Transactions: len(ownHandlers()) > 0, Batches: len(ownBatches()) > 0, Outward: cfg.RunsExample()}
}

// outwardTypes returns the event types whose handlers in this build act outside the
// database. Not every process runs these handlers.
func outwardTypes() []string { return []string{registration.TypeSendNotification} }

// HandledTypes returns the event types for which this build has a handler. The
// value is the flag that a worker needs to run that handler; "" if it needs none.
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
