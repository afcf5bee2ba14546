package daemon

import (
	"outboxd/config"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/deadletters"
)

// connections are the part of the pool that tasks may use. The inbox uses at most as many
// connections as the bound allows. The record of failed tasks uses the same connections,
// and may have a few more of its own, because a handler that hangs keeps its connection.
type connections struct {
	bound    *repository.Bound
	inbox    domain.Inbox
	failures domain.FailedTasks
}

// connectionsFor returns conns connections of the pool, and forFailures more that only the
// record of failed tasks may use.
func (d *Daemon) connectionsFor(conns, forFailures int) connections {
	db, bound := d.one.database, repository.NewBound(conns)
	failures := deadletters.NewFailedTasks(db, d.cfg.Relay.Ordering == config.OrderingBlock)
	return connections{
		bound:    bound,
		inbox:    confirm.NewBoundedInbox(confirm.NewInbox(db), bound),
		failures: confirm.NewBoundedFailures(failures, bound.And(forFailures)),
	}
}
