package app_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestTheCoreKnowsNothingOfTheExample asks the go command what the core consists of.
func TestTheCoreKnowsNothingOfTheExample(t *testing.T) {
	t.Parallel()
	core := []string{
		"outboxd/domain", "outboxd/migrations", "outboxd/repository", "outboxd/repository/postgres", "outboxd/repository/examine",
		"outboxd/relay", "outboxd/jobs", "outboxd/jobs/broker", "outboxd/jobs/inspect", "outboxd/jobs/lookup", "outboxd/jobs/confirm",
		"outboxd/handler", "outboxd/handler/monitor", "outboxd/handler/dashboard",
	}
	list, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, core...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, list)
	}
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		if strings.HasPrefix(name, "outboxd/") && (strings.Contains(name, "registration") || strings.Contains(name, "example")) {
			t.Errorf("the core needs %s", name)
		}
	}
}
