package relay_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/repository/heal"
)

// A cancelled event's task is deleted by the leader, and a loss of Redis does not
// bring it back.
func TestTheLeaderDeletesTasksOfCancelledEvents(t *testing.T) {
	t.Parallel()
	database, queue := schematest.Database(t), servertest.Redis(t)
	cancels := func(o *relay.Options) { o.Cancelled = publish.New(openRedis(t, queue)).Tasks() }
	f := newFixture(t, database, queue, cancels)
	stop := f.start()
	f.exec("SELECT outboxd.emit('stays', '{}'), outboxd.emit('goes', '{}')")
	f.eventually(2, "SELECT count(*) FROM outbox_sent")
	stop()
	if n := len(f.tasks(domain.DefaultQueue)); n != 2 {
		t.Fatalf("Redis has %d tasks, want 2", n)
	}
	f.exec("SELECT outboxd.cancel(id) FROM outbox_sent WHERE event_type = 'goes'")
	f.eventually(1, "SELECT count(*) FROM outbox_cancelled WHERE removed_at IS NULL")

	next := newFixture(t, database, queue, cancels)
	next.start()
	f.eventually(1, "SELECT count(*) FROM outbox_cancelled WHERE removed_at IS NOT NULL")
	if n := len(f.tasks(domain.DefaultQueue)); n != 1 {
		t.Errorf("Redis has %d tasks after the leader looked, want the one of the event that stays", n)
	}
	f.redis.FlushDB(t.Context())
	if n, err := heal.NewRedriver(f.db).Redrive(t.Context(), 1e15); err != nil || n != 1 {
		t.Errorf("%d events were sent again, %v, want 1", n, err)
	}
}

// The former tasks of rescheduled events are deleted. The new task that such an
// event gets at its time stays.
func TestTheLeaderDeletesVoidTasks(t *testing.T) {
	t.Parallel()
	database, queue := schematest.Database(t), servertest.Redis(t)
	cancels := func(o *relay.Options) { o.Cancelled = publish.New(openRedis(t, queue)).Tasks() }
	f := newFixture(t, database, queue, cancels)
	stop := f.start()
	f.exec("SELECT outboxd.emit('stays', '{}'), outboxd.emit('later', '{}'), outboxd.emit('now', '{}')")
	f.eventually(3, "SELECT count(*) FROM outbox_sent")
	f.exec("SELECT outboxd.reschedule(id, now()) FROM outbox_sent WHERE event_type = 'now'")
	f.eventually(1, "SELECT count(*) FROM outbox_sent WHERE generation = 1")
	stop()
	if n := len(f.tasks(domain.DefaultQueue)); n != 4 && n != 3 { // the leader may have looked already
		t.Fatalf("Redis has %d tasks, want 4", n)
	}
	f.exec("SELECT outboxd.reschedule(id, now() + interval '1 day') FROM outbox_sent WHERE event_type = 'later'")
	next := newFixture(t, database, queue, cancels)
	next.start()
	f.eventually(2, "SELECT count(*) FROM outbox_void_tasks WHERE removed_at IS NOT NULL")
	if tasks := f.tasks(domain.DefaultQueue); len(tasks) != 2 {
		t.Errorf("Redis has %d tasks after the leader looked, want those of what stays and of what was moved to now: %+v", len(tasks), tasks)
	}
}
