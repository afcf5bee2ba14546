package lost_test

import (
	"testing"

	"outboxd/domain"
	"outboxd/domain/lost"
)

func TestAChangedIdentityIsALoss(t *testing.T) {
	t.Parallel()
	known := lost.QueueIdentity{RunID: "r", ReplicationID: "l", Canary: "c"}
	for name, test := range map[string]struct {
		now  lost.QueueIdentity
		lost bool
	}{
		"the same":             {known, false},
		"emptied":              {lost.QueueIdentity{RunID: "r", ReplicationID: "l"}, true},
		"an older state":       {lost.QueueIdentity{RunID: "r", ReplicationID: "l", Canary: "b"}, true},
		"restarted":            {lost.QueueIdentity{RunID: "s", ReplicationID: "l", Canary: "c"}, true},
		"failed over and back": {lost.QueueIdentity{RunID: "r", ReplicationID: "m", Canary: "c"}, true},
		"tells less":           {lost.QueueIdentity{Canary: "c"}, false},
	} {
		if reason := test.now.Change(known); (reason != "") != test.lost {
			t.Errorf("%s: %q", name, reason)
		}
	}
	if got := (lost.QueueIdentity{RunID: "s", Canary: "d"}).Over(known); got != (lost.QueueIdentity{RunID: "s", ReplicationID: "l", Canary: "d"}) {
		t.Errorf("over the known one: %+v", got)
	}
}

func TestFindingsAreOneLine(t *testing.T) {
	t.Parallel()
	lines := domain.Warnings([]domain.Finding{
		{Code: "a", Level: domain.FindingWarning, Found: "it is so", Consequence: "that follows", Remedy: "do this"},
		{Code: "b", Level: domain.FindingNote, Found: "it is so too"},
		{Code: "c", Level: domain.FindingWarning, Found: "only this"},
	})
	if len(lines) != 2 || lines[0] != "a: it is so; that follows; do this" || lines[1] != "c: only this" {
		t.Errorf("%q", lines)
	}
}
