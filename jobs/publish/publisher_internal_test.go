package publish

import (
	"testing"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// After an outage a publisher keeps nothing for the server: in a cluster another server may have taken its place, and
// over the years there are many.
func TestAnOutageLeavesNoLanes(t *testing.T) {
	t.Parallel()
	handle, err := broker.Open(broker.Options{URL: "redis://127.0.0.1:1"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = handle.Close() })
	p := New(handle)
	receipts := p.Publish(t.Context(), []domain.Event{{ID: domain.ID{1}, Type: "test:a", Queue: "default"}})
	if domain.ErrorCode(receipts[0].Failure()) != domain.CodeUnavailable {
		t.Fatalf("nothing listens there, but the receipt is %+v", receipts[0])
	}
	lanes := 0
	p.lanes.Range(func(any, any) bool { lanes++; return true })
	if lanes != 0 {
		t.Errorf("the lanes of %d servers are left", lanes)
	}
}
