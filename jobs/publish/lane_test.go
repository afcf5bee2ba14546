package publish_test

import (
	"bytes"
	"testing"

	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/jobstest"
)

// Large events go in several pipelines. Each event still has a result of its
// own, also if Redis does not know the script yet and if Redis fails midway.
func TestPublishCarriesLargeEventsInPieces(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	publisher, client := jobstest.Publisher(t, server.URL())
	events := jobstest.Events(12)
	for i := range events {
		events[i].Payload = bytes.Repeat([]byte{byte(i)}, 600<<10)
	}
	events[5].Payload = bytes.Repeat([]byte{5}, 3<<20)
	events[1].Type, events[11].Type = " ", " " // the last one of a piece is a refusal
	if err := client.Set(t.Context(), "asynq:{broken}:pending", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	events[7].Queue = "broken"
	for range 2 {
		for i, receipt := range publisher.Publish(t.Context(), events) {
			err := receipt.Failure()
			want := map[int]domain.Code{1: domain.CodeInvalid, 7: domain.CodeInternal, 11: domain.CodeInvalid}[i]
			if got := domain.ErrorCode(err); got != want {
				t.Errorf("event %d: %v, want code %q", i, err, want)
			}
		}
		if n := client.LLen(t.Context(), "asynq:{default}:pending").Val(); n != 9 {
			t.Errorf("%d tasks, want 9", n)
		}
	}
	for _, i := range []int{0, 5, 10} {
		message, err := client.HGet(t.Context(), "asynq:{default}:t:"+events[i].TaskID(), "msg").Bytes()
		if err != nil || !bytes.Contains(message, events[i].Payload) {
			t.Errorf("event %d has %d bytes in Redis, %v", i, len(message), err)
		}
	}
	server.Kill()
	for i, receipt := range publisher.Publish(t.Context(), events[2:7]) {
		err := receipt.Failure()
		if domain.ErrorCode(err) != domain.CodeUnavailable {
			t.Errorf("event %d without Redis: %v, want unavailable", i, err)
		}
	}
}
