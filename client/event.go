package client

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"
)

// Event is an event to emit. Only Type is required. For other fields that are zero,
// the defaults of the outbox or of Asynq apply.
type Event struct {
	// ID makes emitting idempotent: events with the same ID take effect only once. That holds
	// as long as the inbox remembers the effect: for --relay-inbox-retention (two weeks by
	// default), and for a Consumer of NewRemote until TrimInbox deletes the row. An ID must be unique
	// among all outboxes on the same Redis. Its version must not be 8. Zero: Emit makes an ID.
	ID ID
	// Type is the Asynq task type, such as "order:paid": not blank, at most
	// 255 bytes.
	Type string
	// Payload reaches the handler unchanged, byte for byte, if it is a []byte, a
	// json.RawMessage or a string. Any other value is encoded as JSON, with its method
	// MarshalJSON even if that has a pointer receiver. Nil: no bytes.
	// At most 1 MiB, unless --relay-max-payload of outboxd sets another limit.
	Payload any
	// Headers become the headers of the Asynq task. At most 64 KiB in total.
	Headers map[string]string
	// Queue is the Asynq queue: at most 255 bytes. Empty: "default".
	Queue string
	// OrderingKey makes the events with the same key take effect one after another,
	// in the order in which they were emitted. At most 255 bytes. Empty: no order.
	OrderingKey string
	// InCommitOrder makes transactions that set it for the same OrderingKey wait for one another:
	// Emit waits until the transaction that emitted before has ended. If all of the key's events
	// are InCommitOrder, their order is the order of the commits. Without an OrderingKey it has no
	// effect.
	InCommitOrder bool
	// AvailableAt is the earliest time at which the relay may send the event. Zero:
	// now.
	AvailableAt time.Time
	// MaxRetry is how often Asynq tries the task again after the first attempt,
	// such as new(3). Nil: Asynq's default, which is 25.
	MaxRetry *int
	// Timeout bounds one attempt, in whole seconds. Zero: Asynq's default, which is 30
	// minutes, or only the Deadline if there is one.
	Timeout time.Duration
	// Deadline is the time after which Asynq does not run the handler any more, in
	// 1971 or later. Asynq then still tries the task again until MaxRetry is used up,
	// and each attempt fails at once. Zero: none.
	Deadline time.Time
	// Retention is how long Asynq keeps the task after it has succeeded, in whole seconds. Zero:
	// not at all.
	Retention time.Duration
	// UniqueFor suppresses the event if another task with the same type, payload and
	// queue has Asynq's unique lock. If no task has it, the event's task takes the lock,
	// for UniqueFor or until it has succeeded. In whole seconds. Zero: the task neither
	// takes the lock nor looks for it.
	UniqueFor time.Duration
}

// Type is a task type together with the Go type of its payload. Producers,
// consumers and tests can share it. With an interface as T, such as any, do not emit a
// []byte or a string: it is sent as it is, and Decode, which cannot know that, reads JSON.
type Type[T any] string

// Event returns an event of the type. Set its other fields as needed.
func (t Type[T]) Event(payload T) Event { return Event{Type: string(t), Payload: payload} }

// Decode reverses the encoding of a payload: it returns []byte, json.RawMessage and
// string unchanged, and decodes other types from JSON.
func (t Type[T]) Decode(encoded []byte) (payload T, err error) {
	switch into := any(&payload).(type) {
	case *[]byte:
		*into = encoded
	case *json.RawMessage:
		*into = encoded
	case *string:
		*into = string(encoded)
	default:
		if err := json.Unmarshal(encoded, &payload); err != nil {
			return payload, fmt.Errorf("the payload of %s is no %T: %w", string(t), payload, err)
		}
	}
	return payload, nil
}

// String returns the task type as a string, for a mux of Asynq.
func (t Type[T]) String() string { return string(t) }

// record is an event in the form of the JSON that the INSERT statement takes.
type record struct {
	ID          ID                `json:"id"`
	Type        string            `json:"event_type"`
	Payload     []byte            `json:"payload"` // base64, as encoding/json writes it
	Headers     map[string]string `json:"headers,omitempty"`
	Queue       string            `json:"queue,omitempty"`
	MaxRetry    *int              `json:"max_retry,omitempty"`
	Timeout     int64             `json:"timeout_seconds,omitempty"`
	Deadline    *time.Time        `json:"deadline,omitempty"` // RFC 3339, which PostgreSQL reads alike in every session
	Retention   int64             `json:"retention_seconds,omitempty"`
	Unique      int64             `json:"unique_seconds,omitempty"`
	AvailableAt *time.Time        `json:"available_at,omitempty"`
	OrderingKey string            `json:"ordering_key,omitempty"`
}

// recordBytes is about how many bytes a record has in JSON besides its texts: the ID and the names of fields.
const recordBytes = 100

// size returns about how long the record is, in bytes, before its payload is encoded as base64.
func (r *record) size() int {
	bytes := recordBytes + len(r.Payload) + len(r.Type) + len(r.Queue) + len(r.OrderingKey)
	for name, value := range r.Headers {
		bytes += len(name) + len(value)
	}
	return bytes
}

// record converts the event and checks it as far as possible without PostgreSQL. A
// mistake found here does not abort the caller's transaction.
func (e *Event) record(headers map[string]string) (record, error) {
	r := record{
		ID: e.ID, Type: e.Type, Headers: headers, Queue: e.Queue, MaxRetry: e.MaxRetry,
		Deadline: moment(e.Deadline), AvailableAt: moment(e.AvailableAt), OrderingKey: e.OrderingKey,
	}
	if r.ID.IsZero() {
		r.ID = NewID()
	}
	var err error
	if r.Payload, err = e.bytes(); err != nil {
		return record{}, err
	}
	for _, d := range []struct {
		field string
		value time.Duration
		into  *int64
	}{{"Timeout", e.Timeout, &r.Timeout}, {"Retention", e.Retention, &r.Retention}, {"UniqueFor", e.UniqueFor, &r.Unique}} {
		if d.value < 0 || d.value%time.Second != 0 || d.value/time.Second > math.MaxInt32 {
			return record{}, refusal(d.field, "is %v; it has to be whole seconds, from 0 to %d", d.value, math.MaxInt32)
		}
		*d.into = int64(d.value / time.Second)
	}
	return r, r.check()
}

func (e *Event) bytes() ([]byte, error) {
	switch payload := e.Payload.(type) {
	case nil:
		return []byte{}, nil
	case []byte:
		return append([]byte{}, payload...), nil
	case json.RawMessage:
		return append([]byte{}, payload...), nil
	case string:
		return []byte(payload), nil
	default:
		// encoding/json calls methods with a pointer receiver only for a value that has an address.
		addressed := reflect.New(reflect.TypeOf(payload))
		addressed.Elem().Set(reflect.ValueOf(payload))
		encoded, err := json.Marshal(addressed.Interface())
		if err != nil {
			return nil, &Refusal{Field: "Payload", Reason: fmt.Sprintf("cannot be encoded as JSON: %v", err), cause: err}
		}
		return encoded, nil
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
