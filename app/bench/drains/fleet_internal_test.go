package drains

import (
	"bytes"
	"context"
	"os/exec"
	"testing"
)

// A process exits with 0 or with 3, by itself or because the benchmark stopped it.
func TestHowAProcessEnded(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	failed := exec.CommandContext(t.Context(), "sh", "-c", "exit 3").Run()
	for name, c := range map[string]struct {
		ctx  context.Context //nolint:containedctx // a case of a table
		err  error
		want string
	}{
		"by itself":          {t.Context(), nil, "it ended before it was stopped: goodbye"},
		"by itself, failed":  {t.Context(), failed, "exit status 3: goodbye"},
		"as it was told":     {stopped, nil, ""},
		"killed at its stop": {stopped, context.Canceled, ""},
		"failed at its stop": {stopped, failed, "exit status 3: goodbye"},
	} {
		said := ""
		if err := outcome(c.ctx, c.err, bytes.NewBufferString("goodbye")); err != nil {
			said = err.Error()
		}
		if said != c.want {
			t.Errorf("%s: %q, want %q", name, said, c.want)
		}
	}
}
