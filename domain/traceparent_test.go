package domain_test

import (
	"strings"
	"testing"

	"outboxd/domain"
)

func TestParseTraceparent(t *testing.T) {
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
		if got, ok := domain.ParseTraceparent(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", in, got, ok, want)
		}
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")
	f.Add("")
	f.Fuzz(func(t *testing.T, traceparent string) {
		parent, ok := domain.ParseTraceparent(traceparent)
		if again, still := domain.ParseTraceparent(parent); ok && (!still || again != parent || len(parent) != 55) {
			t.Errorf("%q was read as %q, which reads as %q", traceparent, parent, again)
		}
	})
}

func TestSampledTrace(t *testing.T) {
	t.Parallel()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for flags, want := range map[string]string{"00": "", "01": trace, "02": "", "03": trace, "ff": trace, "fe": "", "xx": ""} {
		headers := map[string]string{domain.HeaderTraceparent: "00-" + trace + "-00f067aa0ba902b7-" + flags}
		if got := domain.SampledTrace(headers); got != want {
			t.Errorf("flags %s: %q, want %q", flags, got, want)
		}
	}
	if got := domain.SampledTrace(nil); got != "" {
		t.Errorf("no headers: %q", got)
	}
}
