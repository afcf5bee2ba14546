package heal_test

import (
	"fmt"
	"testing"

	"outboxd/app/schematest"
	"outboxd/repository/repositorytest"
)

// A transaction that has cancelled an event, and stays open, holds back only this event.
// The other events go back at once. If the transaction is rolled back, the event goes back
// too.
func TestAnOpenTransactionHoldsBackOnlyTheEventThatItCancelled(t *testing.T) {
	t.Parallel()
	for end, want := range map[string]int{"ROLLBACK": 20, "COMMIT": 19} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			store, list := twentyMissing(t, db)
			_, run := repositorytest.Session(t, db)
			run("BEGIN")
			run(fmt.Sprintf("SELECT cancel('%s')", list[6]))
			if n, err := store.Resend(t.Context(), list[:10], "its task is lost"); err != nil || n != 9 {
				t.Errorf("%d missing events are sent again, %v, want 9", n, err)
			}
			healed := redriveBeside(t, db)
			eventually(t, db, 19, "SELECT count(*) FROM outbox")
			run(end)
			if n := <-healed; int(n) != want-9 {
				t.Errorf("%d went back, want %d", n, want-9)
			}
			if n := count(t, db, "SELECT count(*) FROM outbox"); n != want {
				t.Errorf("%d are in the outbox, want %d", n, want)
			}
		})
	}
}
