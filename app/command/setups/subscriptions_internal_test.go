package setups

import (
	"strings"
	"testing"

	"outboxd/domain/setup"
)

// TestASubscriptionCannotForgeLines has an answer of its receiver, and headers, that would act on
// a terminal. The headers are sorted by name.
func TestASubscriptionCannotForgeLines(t *testing.T) {
	t.Parallel()
	d := SubscriptionDocument{
		Name: "crm", Headers: map[string]string{"c": "3", "a": "1\nFORGED", "b": "2"},
		Down: &setup.ReceiverDown{Reason: "503: \x1b[2J\nFORGED\tx"},
	}
	var table strings.Builder
	subscriptionTable(&table, &d)
	if text := table.String(); strings.Contains(text, "\x1b") || strings.Contains(text, "\nFORGED") || !strings.Contains(text, "Header\ta: 1 FORGED\nHeader\tb: 2\nHeader\tc: 3\n") {
		t.Errorf("the table is\n%q", text)
	}
}
