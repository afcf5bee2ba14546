package lost_test

import (
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/domain/lost"
)

func TestAChangedIdentityIsALoss(t *testing.T) {
	t.Parallel()
	known := lost.QueueIdentity{RunID: "r", ReplicationID: "l", Canary: "c"}
	for name, test := range map[string]struct {
		now  lost.QueueIdentity
		want string // how the reason begins; "": no loss
	}{
		"the same":                    {known, ""},
		"emptied":                     {lost.QueueIdentity{RunID: "r", ReplicationID: "l"}, "Redis was emptied without a restart"},
		"emptied, less told":          {lost.QueueIdentity{RunID: "r"}, "Redis was emptied without a restart"},
		"emptied, nothing told":       {lost.QueueIdentity{}, "the canary in Redis is gone"},
		"a replica of an emptied one": {lost.QueueIdentity{RunID: "r", ReplicationID: "m"}, "the canary in Redis is gone"},
		"restarted without its data":  {lost.QueueIdentity{RunID: "s", ReplicationID: "m"}, "Redis was restarted without its data"},
		"restarted with older data":   {lost.QueueIdentity{RunID: "s", ReplicationID: "m", Canary: "b"}, "Redis was restarted with older data"},
		"restarted":                   {lost.QueueIdentity{RunID: "s", ReplicationID: "l", Canary: "c"}, "Redis was restarted and still has the canary"},
		"an older state":              {lost.QueueIdentity{RunID: "r", ReplicationID: "l", Canary: "b"}, "the canary in Redis is not the last one"},
		"failed over and back":        {lost.QueueIdentity{RunID: "r", ReplicationID: "m", Canary: "c"}, "a replica of Redis took over"},
		"tells less":                  {lost.QueueIdentity{Canary: "c"}, ""},
	} {
		if reason := test.now.Change(known); !strings.HasPrefix(reason, test.want) || (reason == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", name, reason, test.want)
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
