package figures

import (
	"errors"
	"strings"
	"testing"

	"outboxd/domain/figures"
)

// Nothing is known of a name in three cases: neither server answers, only Redis does
// not answer, and both answer.
func TestANameOfWhichNothingIsKnown(t *testing.T) {
	t.Parallel()
	store, queues := errors.New("the database is unavailable"), errors.New("the queue is unavailable")
	for want, seen := range map[string]figures.Seen{
		"a server does not answer: the database is unavailable; the queue is unavailable": {StoreErr: store, QueuesErr: queues},
		"a server does not answer: the queue is unavailable":                              {QueuesErr: queues},
		"nothing of it waits": {},
	} {
		if _, err := lineOf(&figures.View[figures.Queue]{Seen: seen}, "queue", "low"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it says %v, and not %q", err, want)
		}
	}
}
