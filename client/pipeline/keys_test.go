package pipeline

import "testing"

func TestTheQueueOfAKey(t *testing.T) {
	t.Parallel()
	for _, queue := range []string{"default", "{default}", "a}:b", "{", "}"} {
		if got := queueOf("asynq:{" + queue + "}:active"); got != queue {
			t.Errorf("the queue is %q, want %q", got, queue)
		}
	}
}
