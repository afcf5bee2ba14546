package broker

import "google.golang.org/protobuf/encoding/protowire"

// errorField is the number of the last error in Asynq's message, a protocol buffer:
// message TaskMessage of asynq.proto.
const errorField = 7

// LastError reads from a message of Asynq the error of the task's last failed attempt; "" if none
// failed, or if the message cannot be read.
func LastError(message []byte) (text string) {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return ""
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(field, wire, message); n < 0 {
			return ""
		}
		if field == errorField && wire == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			text = string(value)
		}
		message = message[n:]
	}
	return text
}
