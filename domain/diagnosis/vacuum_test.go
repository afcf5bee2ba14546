package diagnosis_test

import (
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

// The remedy drops a slot. If one slot is lost and another is merely not in use, it must name the
// lost one.
func TestTheRemedyNamesTheSlotThatIsLost(t *testing.T) {
	t.Parallel()
	found := diagnosis.PostgresFacts{Slots: []diagnosis.ReplicationSlot{
		{Name: "idle", Status: "reserved", Bytes: 1, Limit: diagnosis.SlotBytes},
		{Name: "gone", Status: "lost", Limit: diagnosis.SlotBytes},
	}}.Findings()
	wantCatalogued(t, found)
	if len(found) != 1 || found[0].Level != domain.FindingWarning || !strings.Contains(found[0].Remedy, "pg_drop_replication_slot('gone')") {
		t.Errorf("found %v", found)
	}
}
