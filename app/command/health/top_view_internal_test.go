package health

import (
	"strings"
	"testing"

	"outboxd/app/command/terminal"
)

// A narrow column tells the queues of subscriptions apart.
func TestQueuesOfTop(t *testing.T) {
	t.Parallel()
	for queue, want := range map[string]string{"mail": "mail", "subscription:crm": "sub:crm", "subscription:billing": "sub:billing"} {
		if got := terminal.OneLine(queueName(queue), 14); got != want || strings.Contains(got, "…") {
			t.Errorf("%s is shown as %q, want %q", queue, got, want)
		}
	}
}
