package pipeline

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// A task is handed out while its lease has time left, however rarely the worker
// polls. Asynq counts the lease from its own request, and the wait is part of that
// request.
func TestAWaitIsShorterThanALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asks := &taker{ctx: t.Context(), every: time.Minute}
		for range 100 {
			began := time.Now()
			if asks.await(); time.Since(began) > leaseTime/2 {
				t.Fatalf("it waited %v, with a lease of %v", time.Since(began), leaseTime)
			}
		}
	})
}

// A closed gate says nothing about the queues, so the next question goes to Redis at
// once.
func TestAClosedGateIsNoEmptyQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asks := &taker{ctx: t.Context(), every: time.Minute, gate: closed{}, queues: []*queue{{name: "default"}}}
		if err := asks.look("default"); err != nil || asks.empty {
			t.Errorf("error %v; it takes the queue for empty: %t", err, asks.empty)
		}
		asks.bell, asks.empty = make(chan struct{}, 1), true
		asks.bell.Ring()
		if err := asks.look("default"); err != nil || asks.empty {
			t.Errorf("error %v; it has forgotten that the bell rang: %t", err, asks.empty)
		}
	})
}

type closed struct{}

func (closed) Pause() time.Duration { return time.Second }
func (closed) Took()                {}

// A receipt is kept for lostFor after its own request, even if the answers to later
// requests are lost too.
func TestAReceiptEndsBeforeItsTasksAreAnothers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lost
		for _, receipt := range []string{"a", "b", "c"} {
			l.lose(receipt, time.Now())
			time.Sleep(25 * time.Second)
		}
		if got := l.unanswered(); got != "b c" {
			t.Errorf("the receipts are %q", got)
		}
	})
}

// An answer that cannot be read extends leases, and so may the next one. The tasks are not kept for ever.
func TestUnreadableAnswersEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{name: "default"}
		begun := time.Now()
		for n := 0; time.Since(begun) <= lostFor; n++ {
			answer := redis.NewCmd(t.Context())
			answer.SetVal([]any{fmt.Sprint(n), "", "", int64(0), "id", ""})
			asks := &taker{buffer: &buffer{}}
			if _, _, err := asks.read(question{queue: q, receipt: fmt.Sprint(n), take: answer}, 4, time.Now()); err == nil {
				t.Fatal("the answer was read")
			}
			time.Sleep(time.Second)
		}
		if got := q.unanswered(); got != "" {
			t.Errorf("after %v the receipts are %q", time.Since(begun), got)
		}
	})
}

// Requests that took nothing leave the receipt of one whose answer was lost, however many they are.
func TestARefusedRequestLosesNoReceipt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{name: "default"}
		ask := func(receipt string, err error) {
			answer := redis.NewCmd(t.Context())
			answer.SetErr(err)
			if _, _, err := (&taker{}).read(question{queue: q, receipt: receipt, take: answer}, 4, time.Now()); err == nil {
				t.Fatal("no error")
			}
		}
		ask("lost", io.EOF)
		refused := errors.New("connection refused")
		for n := range 2 * lostMost {
			ask("dial", fmt.Errorf("%w: %w", errUnread, &net.OpError{Op: "dial", Err: refused}))
			ask("answer", answerOf([]string{"LOADING Redis is loading", "BUSY Redis is busy running a script", "READONLY You can't write"}[n%3]))
		}
		if got := q.unanswered(); got != "lost" {
			t.Errorf("the receipts are %q", got)
		}
		ask("cut", &net.OpError{Op: "read", Err: refused})
		ask("wrong kind", answerOf("WRONGTYPE Operation against a key"))
		if got := q.unanswered(); got != "lost cut wrong kind" {
			t.Errorf("the receipts are %q", got)
		}
	})
}

// answerOf is an error that Redis answered.
type answerOf string

func (a answerOf) Error() string { return string(a) }
func (answerOf) RedisError()     {}

// If a request gets fewer tasks than it asked for, the queue counts as empty. It
// does not if the script stopped at its limit of bytes, or returned tasks of a lost
// answer.
func TestAQuestionThatEndedEarlySaysNotThatTheQueueIsEmpty(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		message string
		renews  bool
		dry     bool
	}{
		"all that there was": {message: "m", dry: true},
		"the limit of bytes": {message: strings.Repeat("m", takeBytes)},
		"of a lost question": {message: "m", renews: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := redis.NewCmd(t.Context())
			answer.SetVal([]any{"r", "", "", int64(0), "id", c.message})
			q := question{queue: &queue{name: "default"}, receipt: "r", renews: c.renews, take: answer}
			asks := &taker{buffer: &buffer{}}
			if _, found, err := asks.read(q, 4, time.Now()); err != nil || !found || q.dry != c.dry {
				t.Errorf("found %t, error %v; it takes the queue for empty: %t", found, err, q.dry)
			}
			asks.buffer.watch.Stop()
		})
	}
}
