package search_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/repository/deadletters"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
)

// An event is known wherever it is; one that the history may have forgotten may
// be one of ours.
func TestKnownEventsAreFoundWhereverTheyAre(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 3)
	relayAll(t, store)
	sent, confirmed := find(t, db, "test:1"), find(t, db, "test:2")
	dead := domain.FailedTask{Event: domain.Event{ID: find(t, db, "test:3"), Type: "test:3"}, Attempt: 1, Err: errors.New("it broke")}
	confirm(t, db, "test:2")
	if got, err := deadletters.NewFailedTasks(db, false).Bury(t.Context(), dead, false); err != nil || got != domain.Buried {
		t.Fatalf("Bury: %v, %v", got, err)
	}
	emitKeyed(t, db, "first", "second") // the second is held
	strange, old := domain.ID{0x01, 6: 0x40, 15: 1}, domain.FirstID(time.Now().Add(-48*time.Hour))
	recent := domain.FirstID(time.Now())
	old[6], recent[6] = 0x70, 0x70
	asked := []domain.ID{sent, confirmed, dead.ID, find(t, db, "first"), find(t, db, "second"), strange, old, recent}
	known, err := search.NewKnownEvents(db, 24*time.Hour).Among(t.Context(), asked)
	want := append(slices.Clone(asked[:5]), old)
	order := func(a, b domain.ID) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(known, order)
	slices.SortFunc(want, order)
	if err != nil || !slices.Equal(known, want) {
		t.Errorf("%v, %v, want %v", known, err, want)
	}
	if known, err = search.NewKnownEvents(db, 0).Among(t.Context(), asked); err != nil || !slices.Equal(known, asked) {
		t.Errorf("without a history: %v, %v, want all", known, err)
	}
}
