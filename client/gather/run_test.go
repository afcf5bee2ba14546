package gather_test

import (
	"testing"

	"outboxd/client/gather"
)

func TestAFailedBatchBoundsTheNextOne(t *testing.T) {
	t.Parallel()
	l := gather.NewRunLimit(100)
	want := func(most int) {
		t.Helper()
		if got := l.Most(); got != most {
			t.Errorf("the next batch may take %d events, want %d", got, most)
		}
	}
	want(100)
	l.Learn(false, 0) // without such events the failure says nothing about them
	want(100)
	l.Learn(false, 30)
	want(12)
	l.Learn(false, 12)
	l.Learn(false, 1)
	want(1)
	for range 8 {
		l.Learn(true, 1)
	}
	want(100)
}
