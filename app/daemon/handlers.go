package daemon

import (
	example "outboxd/domain/registration"
	"outboxd/jobs"
	"outboxd/jobs/registration"
	store "outboxd/repository/registration"
)

// handlers returns which handler carries out the events of which type. A new one
// is a line here; CONTRIBUTING.md shows how to write it.
func (d *Daemon) handlers() (map[string]jobs.Handler, error) {
	notifier, err := d.newNotifier()
	if err != nil {
		return nil, err
	}
	return map[string]jobs.Handler{
		example.TypeSendNotification: registration.SendNotification(new(store.Notifications), notifier),
	}, nil
}
