package client

import (
	"strconv"
	"testing"
)

// degrees encodes itself by methods with pointer receivers, as time types and numbers of some libraries do.
type degrees struct{ celsius int }

func (d *degrees) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, int64(d.celsius), 10), nil
}

func (d *degrees) UnmarshalJSON(text []byte) (err error) {
	d.celsius, err = strconv.Atoi(string(text))
	return err
}

func TestAPayloadIsDecodedAsItWasEncoded(t *testing.T) {
	t.Parallel()
	const kind Type[degrees] = "weather:measured"
	const byPointer Type[*degrees] = "weather:measured"
	measured := degrees{7}
	for name, event := range map[string]Event{"a value": kind.Event(measured), "a pointer": byPointer.Event(&measured)} {
		encoded, err := event.bytes()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := kind.Decode(encoded); err != nil || got != measured {
			t.Errorf("%s: %s is decoded as %v, %v", name, encoded, got, err)
		}
	}
}
