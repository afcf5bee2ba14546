package upkeep_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

// A call looks at some of the deliveries that events wait for, and the next call goes on from there, and then from the
// beginning.
func TestAwaitedDeliveriesAreLookedAtInPieces(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	house := upkeep.NewHousekeeping(db, "")
	const mark = "INSERT INTO outbox_awaited (delivery_id, event_id) SELECT id, id FROM (SELECT outbox_new_id() AS id FROM generate_series(1, 5)) AS event"
	repositorytest.Exec(t, db, mark)
	var last domain.ID
	look := func(want int) {
		t.Helper()
		var err error
		if last, err = house.ConfirmDelivered(t.Context(), last, 2); err != nil {
			t.Fatal(err)
		}
		if n := repositorytest.Count(t, db, "SELECT count(*) FROM outbox_awaited"); n != want {
			t.Errorf("%d are awaited, want %d", n, want)
		}
	}
	look(3)
	look(1)
	look(0)
	repositorytest.Exec(t, db, "INSERT INTO outbox_awaited VALUES ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000001')")
	look(0)
}
