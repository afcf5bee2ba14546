package traceparent_test

import (
	"strings"
	"testing"

	"outboxd/domain/traceparent"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for in, want := range map[string]string{
		valid:                               valid,
		"cc" + valid[2:]:                    valid,
		"cc" + valid[2:] + "-more":          valid,
		valid + "-more":                     "",
		"cc" + valid[2:] + "more":           "",
		"ff" + valid[2:]:                    "",
		strings.ToUpper(valid):              "",
		valid[:len(valid)-1]:                "",
		strings.ReplaceAll(valid, "-", "_"): "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": "",
		"": "",
	} {
		if got, ok := traceparent.Parse(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", in, got, ok, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		parent, ok := traceparent.Parse(header)
		if again, still := traceparent.Parse(parent); ok && (!still || again != parent || len(parent) != 55) {
			t.Errorf("%q was read as %q, which reads as %q", header, parent, again)
		}
	})
}

func TestSampled(t *testing.T) {
	t.Parallel()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for flags, want := range map[string]string{"00": "", "01": trace, "02": "", "03": trace, "ff": trace, "fe": "", "xx": ""} {
		headers := map[string]string{traceparent.Header: "00-" + trace + "-00f067aa0ba902b7-" + flags}
		if got := traceparent.Sampled(headers); got != want {
			t.Errorf("flags %s: %q, want %q", flags, got, want)
		}
	}
	if got := traceparent.Sampled(nil); got != "" {
		t.Errorf("no headers: %q", got)
	}
}
