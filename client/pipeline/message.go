package pipeline

import "google.golang.org/protobuf/encoding/protowire"

// taskTypeField is the number of the type in Asynq's message, a protocol buffer:
// message TaskMessage of asynq.proto.
const taskTypeField = 1

// typeField returns how a message of this type begins, as Asynq encodes it.
func typeField(name string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, taskTypeField, protowire.BytesType), name)
}

// TypeOf reads the type from a message of Asynq, with its fields in any order.
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
