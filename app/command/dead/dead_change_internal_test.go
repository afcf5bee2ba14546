package dead

import (
	"strings"
	"testing"

	"outboxd/app/command/terminal"
	"outboxd/domain"
	"outboxd/domain/replay"
)

// An event that died while the dead letters were counted is replayed, although it was not counted.
func TestNoMoreAreChangedThanMatch(t *testing.T) {
	t.Parallel()
	change := deadChange{action: &domain.Action{}, result: ChangeDocument{Matched: 2}}
	change.tell(replay.Progress{Changed: 3})
	var out strings.Builder
	if err := change.finish(&out, &terminal.Output{}, "Replayed"); err != nil || !strings.Contains(out.String(), "Replayed 3 of 3 dead letters.") {
		t.Errorf("it prints %q, %v", out.String(), err)
	}
}
