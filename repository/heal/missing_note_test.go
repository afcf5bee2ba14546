package heal_test

import (
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/repository/heal"
)

// If a consumer confirms nothing, its events fill only half of the store of missing
// events. An event of a type that is confirmed can still be noted, and so sent again.
func TestEventsThatNobodyConfirmsLeaveRoomForMissingOnes(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	missing := heal.NewMissingEvents(db)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
		SELECT outbox_new_id(), 'test:proven', '', '{}', 'default', now(), 0, 0, now(), now() - interval '1 hour' FROM generate_series(1, 2) n`)
	exec(t, db, `INSERT INTO outbox_missing (event_id, event_type, queue, generation, sent_at, task)
		SELECT gen_random_uuid(), 'test:unproven', 'default', 0, now(), '' FROM generate_series(1, $1)`, lost.MissingNoted/2)
	page, err := missing.Page(t.Context(), domain.ID{}, domain.LastID(), 10, time.Minute, nil)
	if err != nil || len(page.Waiting) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	noted, err := missing.Note(t.Context(), []lost.MissingEvent{{SentEvent: page.Waiting[0]}, {SentEvent: page.Waiting[1], Proven: true}})
	if err != nil || len(noted) != 1 || noted[0].Event.ID != page.Waiting[1].Event.ID {
		t.Errorf("noted are %+v, %v, want the event of a type that is confirmed", noted, err)
	}
	exec(t, db, `INSERT INTO outbox_missing (event_id, event_type, queue, generation, sent_at, task)
		SELECT gen_random_uuid(), 'test:proven', 'default', 0, now(), '' FROM generate_series(1, $1)`, lost.MissingNoted/2)
	exec(t, db, "DELETE FROM outbox_missing WHERE event_id = $1", page.Waiting[1].Event.ID)
	if noted, err = missing.Note(t.Context(), []lost.MissingEvent{{SentEvent: page.Waiting[1], Proven: true}}); err != nil || len(noted) != 0 {
		t.Errorf("the store has room for more than %d events: %+v, %v", lost.MissingNoted, noted, err)
	}
}
