package daemon

import (
	"outboxd/domain/registration"
	"outboxd/jobs"
)

// ownHandlers returns which handler carries out the events of which type, apart
// from the example's. A new one is a line here; CONTRIBUTING.md shows how to
// write it.
func ownHandlers() map[string]jobs.Handler {
	return map[string]jobs.Handler{}
}

// handlers returns the handlers of this process's worker.
func (d *Daemon) handlers() (map[string]jobs.Handler, error) {
	handlers := ownHandlers()
	if d.cfg.RunsExample() {
		return handlers, d.addExample(handlers)
	}
	return handlers, nil
}

// HandledTypes returns the types that a worker of this build has a handler for,
// each with the flag that the worker needs for it, or "".
func HandledTypes() map[string]string {
	types := map[string]string{registration.TypeSendNotification: "--example=on"}
	for name := range ownHandlers() {
		types[name] = ""
	}
	return types
}
