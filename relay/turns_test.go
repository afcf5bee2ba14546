package relay_test

import (
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// A task may wait in a paused queue for longer than sent events are kept in the
// history. Its successor waits too, until the queue no longer has the task.
func TestATurnOutlivesTheHistory(t *testing.T) {
	t.Parallel()
	database, queue := schematest.Database(t), servertest.Redis(t)
	f := newFixture(t, database, queue, nil)
	f.exec("SELECT outboxd.emit('test:a', '{}', ordering_key => 'k') FROM generate_series(1, 2)")
	stop := f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
	f.eventually(1, "SELECT count(*) FROM outbox_held")
	const partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox_sent'::regclass"
	f.eventually(9, partitions) // today's, those of the next 7 days, and the default one
	stop()
	f.exec("DELETE FROM outbox_sent")
	f.exec("UPDATE outbox_turns SET taken_at = now() - interval '2 minutes'")

	f.exec("DO $$ BEGIN EXECUTE 'DROP TABLE outbox_sent_' || to_char(timezone('UTC', now()) + interval '6 days', 'YYYYMMDD'); END $$")
	f = newFixture(t, database, queue, nil)
	stop = f.start()
	// A new leader makes partitions after it has looked at the keys.
	f.eventually(9, partitions)
	if n := f.count("SELECT count(*) FROM outbox_held"); n != 1 {
		t.Errorf("%d events are held while the one before is in the queue, want 1", n)
	}
	stop()

	inspector := asynq.NewInspectorFromRedisClient(f.redis)
	for id := range f.tasks("default") {
		if err := inspector.ArchiveTask("default", id); err != nil {
			t.Fatal(err)
		}
	}
	f = newFixture(t, database, queue, nil)
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
	if n := f.count("SELECT count(*) FROM outbox_held"); n != 0 {
		t.Errorf("%d events are held after the one before was given up, want none", n)
	}
}
