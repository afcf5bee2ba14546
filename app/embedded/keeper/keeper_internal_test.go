package keeper

import (
	"os/exec"
	"testing"
)

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "/tmp/run", "it's", `a "b" $c \d`, "two\nlines", "*"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+ShellQuote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q arrives as %q (%v)", text, out, err)
		}
	}
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(`{"url":"postgres://outboxd@/outboxd","owner":1,"pid":2}`))
	f.Add([]byte(`{"url":"x","pid":-1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		// A signal to a negative process ID goes to a whole process group.
		if s, ok := parseState(text); ok && (s.URL == "" || s.PID < 0) {
			t.Errorf("%q gives %+v", text, s)
		}
	})
}
