package outboxtest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// decode reads a payload as a handler gets it.
func decode[T any](encoded string, payload *T) error {
	// PostgreSQL breaks lines.
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(encoded, "\n", ""))
	if err != nil {
		return err
	}
	switch into := any(payload).(type) {
	case *[]byte:
		*into = raw
		return nil
	default:
		return json.Unmarshal(raw, payload)
	}
}
