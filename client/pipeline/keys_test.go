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

// The scripts for retrying and archiving have the key of the task first.
func TestTheQueueOfAScriptThatEndsARun(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "a}:b", "x}:active"} {
		for _, queue := range []string{"default", "a}:b"} {
			prefix := "asynq:{" + queue + "}:"
			for _, keys := range [][]string{
				{prefix + "t:" + id, prefix + "active", prefix + "lease", prefix + "retry"},
				{prefix + "active", prefix + "lease", prefix + "t:" + id},
			} {
				if got, ends := endsRun(keys); !ends || got != queue {
					t.Errorf("task %q of queue %q: %q, %t", id, queue, got, ends)
				}
			}
			if _, ends := endsRun([]string{prefix + "retry", prefix + "pending"}); ends {
				t.Error("a script that moves due tasks ends a run")
			}
		}
	}
}
