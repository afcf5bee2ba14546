package thorough_test

import (
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/diagnosistest"
	"outboxd/domain/diagnosis/thorough"
)

// The remedy drops a slot. If one slot is lost and another is merely not in use, it must name the
// lost one.
func TestTheRemedyNamesTheSlotThatIsLost(t *testing.T) {
	t.Parallel()
	found := thorough.PostgresFacts{Slots: []thorough.ReplicationSlot{
		{Name: "idle", Status: "reserved", Bytes: 1, Limit: diagnosis.SlotBytes},
		{Name: "gone", Status: "lost", Limit: diagnosis.SlotBytes},
	}}.Findings()
	diagnosistest.WantCatalogued(t, found)
	if len(found) != 1 || found[0].Level != domain.FindingWarning || !strings.Contains(found[0].Remedy, "pg_drop_replication_slot('gone')") {
		t.Errorf("found %v", found)
	}
}
