package daemon

import (
	"outboxd/config"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/deadletters"
)

// connections are a part of the pool for tasks: the inbox and the record of failed tasks
// together use no more connections than the bound has.
type connections struct {
	bound    *repository.Bound
	inbox    domain.Inbox
	failures domain.FailedTasks
}

// connectionsFor returns a part of conns connections of the pool.
func (d *Daemon) connectionsFor(conns int) connections {
	db, bound := d.one.database, repository.NewBound(conns)
	failures := deadletters.NewFailedTasks(db, d.cfg.Relay.Ordering == config.OrderingBlock)
	return connections{
		bound:    bound,
		inbox:    repository.NewBoundedInbox(repository.NewInbox(db), bound),
		failures: repository.NewBoundedFailures(failures, bound),
	}
}
