package broker

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields in Asynq's message, a protocol buffer: message TaskMessage of asynq.proto.
const (
	errorField    = 7
	failedAtField = 11
)

// Failure is the last failed attempt of a task.
type Failure struct {
	Error string    // "" if no attempt failed
	At    time.Time // to the second, by the worker's clock
}

// LastFailure reads the last failed attempt from a message of Asynq; none if the message cannot be read.
func LastFailure(message []byte) (last Failure) {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return Failure{}
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(field, wire, message); n < 0 {
			return Failure{}
		}
		switch {
		case field == errorField && wire == protowire.BytesType:
			value, _ := protowire.ConsumeBytes(message)
			last.Error = string(value)
		case field == failedAtField && wire == protowire.VarintType:
			value, _ := protowire.ConsumeVarint(message)
			last.At = time.Unix(int64(value), 0) //nolint:gosec // Asynq writes an int64
		}
		message = message[n:]
	}
	return last
}
