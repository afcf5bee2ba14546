package heal_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain/lost"
	"outboxd/repository/heal"
)

// One master of a Redis Cluster lost its data: only events of its queues go back. If the acknowledgements were on that
// master, events that consumers acknowledge go back from every queue.
func TestRedriveSparesTheQueuesOfOtherShards(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `UPDATE outbox_queue_identity SET elsewhere = '{test:elsewhere}'`)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
		SELECT gen_random_uuid(), type, '', '{}', queue, now(), 0, 0, now(), now()
		FROM generate_series(1, 30) n, unnest('{here,there}'::text[]) queue, unnest('{test:a,test:elsewhere}'::text[]) type`)
	memory, slots := heal.NewQueueMemory(db), &lost.Slots{}
	redrive := func(want int64) {
		t.Helper()
		if n, err := memory.Redrive(t.Context(), lost.Redrive{Window: time.Hour, Why: "a test", Slots: slots}); err != nil || n != want {
			t.Errorf("%d events went back (%v), want %d", n, err, want)
		}
	}
	redrive(0)
	slots.Add(lost.SlotOf("here"), lost.SlotOf("here"))
	redrive(60)
	if n := count(t, db, "SELECT count(*) FROM outbox WHERE queue = 'here'"); n != 60 {
		t.Errorf("%d events of the lost queue are back, want 60", n)
	}
	slots.Add(lost.SlotOf(lost.OwnTag), lost.SlotOf(lost.OwnTag))
	redrive(30)
	slots = nil
	redrive(30)
}
