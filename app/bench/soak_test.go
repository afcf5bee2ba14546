package bench_test

import (
	"slices"
	"strings"
	"testing"
)

func TestSoak(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, doc := measure(t, e, "soak", "--rate=200", "--per-transaction=4", "--seconds=1.5", "--hold=0.5")
	var names []string
	events := 0.0
	for _, arm := range doc.Arms {
		names = append(names, arm.Name)
		events += arm.Figures["events"]
		if _, lag := arm.Figures["lag_p99_ms"]; !lag && (arm.Figures["outbox_mib"] <= 0 || arm.Figures["goroutines"] <= 0 || arm.Figures["resident_mib"] <= 0) {
			t.Errorf("arm %q: %v", arm.Name, arm.Figures)
		}
	}
	want := []string{"start", "without a snapshot", "at the end of that", "with an old snapshot", "at the end of that", "after it", "at the end of that"}
	if !slices.Equal(names, want) {
		t.Errorf("arms %q, want %q", names, want)
	}
	var sent, effects int
	if err := e.Admin.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM outbox_sent), (SELECT count(*) FROM inbox)").Scan(&sent, &effects); err != nil {
		t.Fatal(err)
	}
	if events == 0 || sent == 0 || effects > sent {
		t.Errorf("%v events in the phases, %d sent, %d effects", events, sent, effects)
	}
	for _, bad := range [][]string{{"--rate=0"}, {"--hold=5", "--seconds=5"}, {"--per-transaction=0"}} {
		if _, err := attempt(t, newEnv(t), "soak", bad...); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	e = newEnv(t)
	e.Config.Relay.History = 0
	if _, err := attempt(t, e, "soak", "--rate=200", "--seconds=0.5", "--hold=0"); err == nil || !strings.Contains(err.Error(), "--relay-history has to be above 0") {
		t.Errorf("without a history: %v", err)
	}
}
