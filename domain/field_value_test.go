package domain_test

import (
	"strings"
	"testing"

	"outboxd/domain"
)

// The fields that most payloads have come first. A field that no condition could name is left out.
func TestTheFieldsOfPayloads(t *testing.T) {
	t.Parallel()
	for want, payloads := range map[string][]string{
		"":                    {"", "no JSON", "[1, 2]", "null", `"a"`, `{"": 1, "a.b": 2, "c=d": 3, "list": [{"e": 1}], "nothing": null}`},
		"to a booking.n":      {`{"to": "x", "booking": {"n": null}}`, `{"booking": {"n": 1}, "to": true}`, `{"to": 1, "a": 0}`, "{"},
		"a.b.c.d.e":           {`{"a": {"b": {"c": {"d": {"e": 1, "f": {"g": 1}}}}}}`},
		"a b c d e f g h i j": {`{"j":1,"i":1,"h":1,"g":1,"f":1,"e":1,"d":1,"c":1,"b":1,"a":1}`},
	} {
		var sample [][]byte
		for _, payload := range payloads {
			sample = append(sample, []byte(payload))
		}
		if got := strings.Join(domain.FieldsOf(sample), " "); got != want {
			t.Errorf("%q have the fields %q, want %q", payloads, got, want)
		}
	}
}

func TestTheNameOfAFieldHasNoValue(t *testing.T) {
	t.Parallel()
	if path, err := domain.ParseFieldPath("order.customer"); err != nil || strings.Join(path, "/") != "order/customer" {
		t.Errorf("%q, %v", path, err)
	}
	for _, text := range []string{"", "a.", "a=1", "a="} {
		if path, err := domain.ParseFieldPath(text); domain.ErrorCode(err) != domain.CodeInvalid {
			t.Errorf("%q: %q, %v", text, path, err)
		}
	}
}
