package events

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain/lives"
	"outboxd/domain/queued"
)

// TestTimesAreAsPreciseAsTheyAreKnown prints a step from PostgreSQL with milliseconds, and one from Redis without.
func TestTimesAreAsPreciseAsTheyAreKnown(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 16, 50, 51, 0, time.UTC)
	var life lives.Life
	life.CreatedAt = at
	document := NewEventDocument(&life, []queued.TaskState{{TaskID: "a", NextAt: at.Add(time.Hour)}})
	var table strings.Builder
	EventTable(&table, &document)
	for _, want := range []string{"\n2026-11-25 16:50:51.000\temitted", "\n2026-11-25 17:50:51\tnext attempt"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no line begins with %q:\n%s", want[1:], table.String())
		}
	}
}
