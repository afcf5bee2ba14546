package pipeline

import "google.golang.org/protobuf/encoding/protowire"

// taskTypeField is the field number of the task type in Asynq's protocol buffer
// TaskMessage (asynq.proto).
const taskTypeField = 1

// typeField returns the first bytes of every task message of this type, as Asynq
// encodes it.
func typeField(name string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, taskTypeField, protowire.BytesType), name)
}

// TypeOf reads the task type from a task message, with the fields in any order.
func TypeOf(message []byte) (name string, ok bool) {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return "", false
		}
		message = message[n:]
		if field == taskTypeField && wire == protowire.BytesType {
			value, n := protowire.ConsumeString(message)
			if n < 0 {
				return "", false
			}
			name, message = value, message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(field, wire, message); n < 0 {
			return "", false
		}
		message = message[n:]
	}
	return name, true
}
