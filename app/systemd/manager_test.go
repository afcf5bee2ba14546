package systemd

import (
	"errors"
	"log/slog"
	"testing"
)

func TestTheWatchdogIsSilentForWhatDoesNotLive(t *testing.T) {
	t.Parallel()
	var fault error
	beats := 0
	w := watchdog{log: slog.New(slog.DiscardHandler), alive: func() error { return fault }, beat: func() { beats++ }}
	w.look()
	fault = errors.New("it hangs")
	w.look()
	w.look()
	if beats != 1 {
		t.Errorf("%d beats, want 1: none of a process that hangs", beats)
	}
	fault = nil
	w.look()
	if beats != 2 {
		t.Errorf("%d beats, want 2: it lives again", beats)
	}
}
