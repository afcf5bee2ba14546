package repository_test

import (
	"slices"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
)

// An event is known wherever it is; one that the history may have forgotten may
// be one of ours.
func TestKnownEventsAreFoundWhereverTheyAre(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	emit(t, db, 3)
	relayAll(t, store)
	sent, confirmed, dead := find(t, db, "test:1"), find(t, db, "test:2"), failedTask(find(t, db, "test:3"), "test:3")
	confirm(t, db, "test:2")
	bury(t, repository.NewFailedTasks(db, false), dead, domain.Buried)
	emitKeyed(t, db, "first", "second") // the second is held
	strange, old := domain.ID{0x01, 6: 0x40, 15: 1}, domain.FirstID(time.Now().Add(-48*time.Hour))
	recent := domain.FirstID(time.Now())
	old[6], recent[6] = 0x70, 0x70
	asked := []domain.ID{sent, confirmed, dead.ID, find(t, db, "first"), find(t, db, "second"), strange, old, recent}
	known, err := repository.NewKnownEvents(db, 24*time.Hour).Among(t.Context(), asked)
	want := append(slices.Clone(asked[:5]), old)
	order := func(a, b domain.ID) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(known, order)
	slices.SortFunc(want, order)
	if err != nil || !slices.Equal(known, want) {
		t.Errorf("%v, %v, want %v", known, err, want)
	}
	if known, err = repository.NewKnownEvents(db, 0).Among(t.Context(), asked); err != nil || !slices.Equal(known, asked) {
		t.Errorf("without a history: %v, %v, want all", known, err)
	}
}
