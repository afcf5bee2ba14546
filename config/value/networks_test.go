package value_test

import (
	"testing"

	"outboxd/config/value"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.7": "10.0.0.7/32", "10.1.2.3/8": "10.0.0.0/8", "2001:db8::1": "2001:db8::1/128", "::/0": "::/0",
		"::ffff:10.0.0.7": "10.0.0.7/32", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:0:0/96": "0.0.0.0/0", "::ffff:10.0.0.7/64": "::/64",
	} {
		var got value.Networks
		if err := got.UnmarshalText([]byte(text)); err != nil || got.String() != want {
			t.Errorf("%s is read as %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"10.0.0.0/33", "fe80::1%eth0", "localhost", "10.0.0.7:80"} {
		var got value.Networks
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%s is read as %s", text, got)
		}
	}
}
