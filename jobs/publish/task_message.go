package publish

import (
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"outboxd/domain"
)

// The field numbers of Asynq's TaskMessage, from its file asynq.proto. The other fields are empty in a new
// task that is not unique.
const (
	fieldType      = 1
	fieldPayload   = 2
	fieldID        = 3
	fieldQueue     = 4
	fieldRetry     = 5
	fieldTimeout   = 8
	fieldDeadline  = 9
	fieldRetention = 12
	fieldHeaders   = 15
	// The fields of a map entry.
	fieldKey   = 1
	fieldValue = 2
)

// asynqTimeout is the default of Asynq's client for an event with neither a timeout nor a deadline.
const asynqTimeout = 30 * time.Minute

// isPlain reports whether taskMessage can write the event's task in the same way as Asynq's client. All other
// events go through that client: unique events, and events that the client refuses.
func isPlain(e *domain.Event) bool {
	if e.Options.Unique != 0 || strings.TrimSpace(e.Type) == "" || strings.TrimSpace(e.Queue) == "" || !utf8.ValidString(e.Type) || !utf8.ValidString(e.Queue) {
		return false
	}
	for name, value := range e.Headers {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return false
		}
	}
	return true
}

// taskMessage returns the encoded message of an event's task. Asynq's client would write the same message with the
// options of taskOptions.
func taskMessage(e *domain.Event, taskID string) []byte {
	b := make([]byte, 0, len(e.Type)+len(e.Payload)+len(taskID)+len(e.Queue)+128)
	b = appendText(b, fieldType, e.Type)
	if len(e.Payload) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldPayload, protowire.BytesType), e.Payload)
	}
	b = appendText(b, fieldID, taskID)
	b = appendText(b, fieldQueue, e.Queue)
	retries, timeout, deadline := limitsOf(e)
	b = appendNumber(b, fieldRetry, int64(int32(retries))) //nolint:gosec // as Asynq cuts it
	b = appendNumber(b, fieldTimeout, int64(timeout.Seconds()))
	b = appendNumber(b, fieldDeadline, deadline)
	b = appendNumber(b, fieldRetention, int64(max(e.Options.Retention, 0).Seconds()))
	added, value := addedHeader(e)
	for name, value := range e.Headers {
		if name != added || added == "" {
			b = appendHeader(b, name, value)
		}
	}
	if added != "" {
		b = appendHeader(b, added, value)
	}
	return b
}

func appendHeader(b []byte, name, value string) []byte {
	entry := protowire.SizeTag(fieldKey) + protowire.SizeBytes(len(name)) + protowire.SizeTag(fieldValue) + protowire.SizeBytes(len(value))
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldHeaders, protowire.BytesType), uint64(entry)) //nolint:gosec // a length
	b = protowire.AppendString(protowire.AppendTag(b, fieldKey, protowire.BytesType), name)
	return protowire.AppendString(protowire.AppendTag(b, fieldValue, protowire.BytesType), value)
}

// limitsOf returns the limits of an event's task: the maximum number of retries, the timeout of one run, and the
// deadline in Unix seconds. A timeout or deadline of 0 means no limit.
func limitsOf(e *domain.Event) (retries int, timeout time.Duration, deadline int64) {
	o := &e.Options
	switch {
	case e.Subscription != "":
		retries = deliveryRetries
	case o.MaxRetry != nil:
		retries = max(*o.MaxRetry, 0)
	default:
		retries = domain.AsynqRetries
	}
	switch {
	case e.Subscription != "":
		timeout = deliveryTimeout
	case o.Timeout > 0:
		timeout = o.Timeout
	}
	if !o.Deadline.IsZero() {
		deadline = o.Deadline.Unix()
	}
	if timeout == 0 && (o.Deadline.IsZero() || o.Deadline.Equal(time.Unix(0, 0))) {
		timeout = asynqTimeout
	}
	return retries, timeout, deadline
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendNumber(b []byte, field protowire.Number, n int64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n)) //nolint:gosec // as protocol buffers have it
}
