package domain_test

import (
	"testing"
	"time"

	"outboxd/domain"
)

func TestFirstIDBoundsATime(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_790_000_000_123)
	first := domain.FirstID(at)
	if got := first.String(); got != "01a0c450-6c7b-0000-0000-000000000000" {
		t.Errorf("the first ID is %s", got)
	}
	if got := first.Before().String(); got != "01a0c450-6c7a-ffff-ffff-ffffffffffff" {
		t.Errorf("the ID before is %s", got)
	}
	if zero := domain.FirstID(time.Time{}); !zero.IsZero() || !zero.Before().IsZero() {
		t.Error("there is an ID before the first")
	}
	if got := domain.LastID().Before().String(); got != "ffffffff-ffff-ffff-ffff-fffffffffffe" {
		t.Errorf("before the last ID is %s", got)
	}
}
