package diagnosis_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/domain/diagnosis"
	"outboxd/domain/lost"
	"outboxd/domain/overview"
)

// Each reason of a heal has its remedy. None tells to set appendonly or maxmemory: other findings do, if these settings
// are wrong.
func TestAHealSaysWhatToDoAgainstItsReason(t *testing.T) {
	t.Parallel()
	now := time.Now()
	remedy := func(reasons ...string) string {
		q := diagnosis.Quick{At: now}
		q.Standing.At, q.Standing.Heals = now, int64(len(reasons))
		for _, reason := range reasons {
			q.Standing.LastHeals = append(q.Standing.LastHeals, overview.Heal{At: now, Reason: reason})
		}
		for _, f := range q.Findings() {
			if f.Code == "healed" {
				return f.Remedy
			}
		}
		return ""
	}
	unknown := remedy("for another reason")
	if unknown == "" {
		t.Fatal("a heal is no finding")
	}
	for reason, want := range map[string]string{
		lost.QueueEmptied:        "-flushall",
		lost.QueueRestartedEmpty: "CONFIG GET dir",
		lost.CanaryGone:          "since when this Redis runs",
		lost.QueueOlder:          "--redis-wait-replicas=1",
		lost.CanaryOther:         "a copy of this database",
		lost.CanaryBefore:        "if a relay was killed",
		lost.QueueRestarted:      "if somebody restarted Redis",
		lost.ReplicaTookOver:     "if the failover or the change was planned",
		lost.MasterEmptied:       "since when this Redis runs",
		lost.MasterOther:         "if the failover or the change was planned",
		lost.DatabaseOther:       "let producers emit lost events again",
		lost.TimelineOther:       "let producers emit lost events again",
	} {
		got := remedy(reason)
		if !strings.Contains(got, want) || strings.Contains(got, "appendonly") || strings.Contains(got, "maxmemory") {
			t.Errorf("%s: %s", reason, got)
		}
	}
	one := remedy(lost.QueueEmptied)
	if remedy(lost.QueueEmptied, lost.QueueEmptied) != one || !strings.Contains(remedy(lost.QueueEmptied, lost.QueueRestarted), "if somebody restarted") {
		t.Error("a remedy is missing, or said twice")
	}
	if both := remedy(lost.QueueEmptied, lost.QueueRestarted); !strings.Contains(both, "("+lost.QueueEmptied+") ") || !strings.Contains(both, "; ("+lost.QueueRestarted+") ") {
		t.Errorf("it is not said which remedy is against which reason: %s", both)
	}
}
