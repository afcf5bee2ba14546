package publish

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// eventsOfAllOptions returns an event for each combination of options.
func eventsOfAllOptions() (events []domain.Event) {
	number := func(n int) *int { return &n }
	var options []domain.TaskOptions
	for _, retry := range []*int{nil, number(0), number(7), number(-1), number(1 << 31)} {
		for _, timeout := range []time.Duration{0, time.Second, 90 * time.Minute, time.Millisecond, -time.Second} {
			for _, deadline := range []time.Time{{}, time.Unix(0, 0), time.Unix(1, 0), time.Unix(1<<33, 5), time.Unix(-7, 0)} {
				for _, retention := range []time.Duration{0, time.Hour, -time.Second} {
					options = append(options, domain.TaskOptions{MaxRetry: retry, Timeout: timeout, Deadline: deadline, Retention: retention})
				}
			}
		}
	}
	for n, o := range options {
		for m, e := range []domain.Event{
			{Type: "a:b", Payload: []byte("{}"), Queue: "default"},
			{Type: "ж " + string(bytes.Repeat([]byte{'x'}, 200)), Queue: "q", Generation: 3, Headers: map[string]string{"traceparent": "00-ä"}},
			{Type: "d", Payload: bytes.Repeat([]byte{0, 255}, 300), Queue: "subscription", Subscription: "mine", Origin: domain.ID{1}},
			{Type: "e", Queue: "low", Headers: map[string]string{"": "", "a": "", "c": "d"}},
			{Type: "f", Queue: "low", Outbox: "mine"},
			{Type: "g", Queue: "low", Outbox: "mine", Headers: map[string]string{"": "", "outboxd-outbox": "a producer's"}},
		} {
			e.ID, e.Options = domain.ID{1, 6: 0x70, 8: 0x80, 13: byte(m), 14: byte(n >> 8), 15: byte(n)}, o
			events = append(events, e)
		}
	}
	return events
}

// asynqs returns the message that Asynq's client makes of an event, and the task's
// ID.
func asynqs(t *testing.T, l *lane, e *domain.Event) ([]byte, string) {
	t.Helper()
	command, err := l.add(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	args := command.Args()
	return args[len(args)-3].([]byte), args[len(args)-2].(string) //nolint:forcetypeassert // as Asynq calls it
}

func TestTheMessageIsAsynqs(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	l := newLane(client, 0)
	for _, e := range eventsOfAllOptions() {
		if !isPlain(&e) {
			t.Fatalf("%+v is not plain", e)
		}
		ours := taskMessage(&e, e.TaskID())
		theirs, id := asynqs(t, l, &e)
		if id != e.TaskID() {
			t.Fatalf("Asynq's ID is %s, want %s", id, e.TaskID())
		}
		if len(headersOf(&e)) > 1 { // several headers come in a random order
			ours, theirs = sorted(ours), sorted(theirs)
		}
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%+v:\nours    %x\nAsynq's %x", e, ours, theirs)
		}
	}
}

// sorted puts the bytes in order, so that messages that differ only in the order of their headers
// become equal.
func sorted(message []byte) []byte { return slices.Sorted(slices.Values(message)) }

func TestWhatAsynqRefusesOrLocksIsNotPlain(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	l := newLane(client, 0)
	for _, e := range []domain.Event{
		{Type: " ", Queue: "q"},
		{Type: "a", Queue: "\t"},
		{Type: "\xff", Queue: "q"},
		{Type: "a", Queue: "\xff"},
		{Type: "a", Queue: "q", Headers: map[string]string{"\xff": ""}},
		{Type: "a", Queue: "q", Headers: map[string]string{"a": "\xff"}},
	} {
		e.ID = domain.ID{1}
		if _, err := l.add(context.Background(), &e); err == nil {
			t.Errorf("Asynq takes %+v", e)
		}
		if isPlain(&e) {
			t.Errorf("%+v is plain", e)
		}
	}
	if e := (domain.Event{Type: "a", Queue: "q", Options: domain.TaskOptions{Unique: time.Second}}); isPlain(&e) {
		t.Error("a unique event is plain")
	}
}
