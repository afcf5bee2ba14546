package pipeline

import "google.golang.org/protobuf/encoding/protowire"

// taskTypeField and taskErrorField are the field numbers of the task type and of the error of the last attempt in
// Asynq's protocol buffer TaskMessage (asynq.proto).
const (
	taskTypeField  = 1
	taskErrorField = 7
)

// typeField returns the first bytes of every task message of this type, as Asynq
// encodes it.
func typeField(name string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, taskTypeField, protowire.BytesType), name)
}

// TypeOf reads the task type from a task message, with the fields in any order.
func TypeOf(message []byte) (name string, ok bool) { return textOf(message, taskTypeField) }

// errorOf reads the error of the last attempt from a task message; "" if there is none.
func errorOf(message []byte) string {
	text, _ := textOf(message, taskErrorField)
	return text
}

// textOf reads a text from a task message. The result ok says that the message can be read.
func textOf(message []byte, number protowire.Number) (text string, ok bool) {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return "", false
		}
		message = message[n:]
		if field == number && wire == protowire.BytesType {
			value, n := protowire.ConsumeString(message)
			if n < 0 {
				return "", false
			}
			text, message = value, message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(field, wire, message); n < 0 {
			return "", false
		}
		message = message[n:]
	}
	return text, true
}
