package daemon

import (
	"maps"
	"slices"

	example "outboxd/domain/registration"
	"outboxd/jobs"
	"outboxd/jobs/registration"
	store "outboxd/repository/registration"
)

// handlers returns which handler carries out the events of which type. A new one
// is a line of handlersWith; CONTRIBUTING.md shows how to write it.
func (d *Daemon) handlers() (map[string]jobs.Handler, error) {
	notifier, err := d.newNotifier()
	if err != nil {
		return nil, err
	}
	return handlersWith(notifier), nil
}

func handlersWith(notifier example.Notifier) map[string]jobs.Handler {
	return map[string]jobs.Handler{
		example.TypeSendNotification: registration.SendNotification(new(store.Notifications), notifier),
	}
}

// HandledTypes returns the types that the worker has a handler for.
func HandledTypes() []string { return slices.Sorted(maps.Keys(handlersWith(nil))) }
