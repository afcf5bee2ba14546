package diagnosis_test

import (
	"slices"
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

func TestJoinNamesTheDatabases(t *testing.T) {
	t.Parallel()
	finding := func(code string, level domain.FindingLevel, found string) domain.Finding {
		return domain.Finding{Code: code, Level: level, Found: found}
	}
	dead, late, evicts := finding("dead-letters", domain.FindingWarning, "1 dead letter"), finding("events-late", domain.FindingBroken, "late"), finding("redis-evicts", domain.FindingWarning, "evicts")
	joined := diagnosis.Join([]diagnosis.About{{Source: "orders", Findings: []domain.Finding{diagnosis.Unusable(diagnosis.PostgreSQL, nil)}}}, nil)
	if remedy := joined[0].Remedy; !strings.HasPrefix(remedy, "start it, or correct its URL in --databases; ") {
		t.Errorf("the remedy is %q", remedy)
	}
	var got []string
	for _, f := range diagnosis.Join([]diagnosis.About{
		{Source: "orders", Findings: []domain.Finding{dead, evicts}},
		{Source: "billing", Findings: []domain.Finding{late, dead, evicts}},
	}, []domain.Finding{evicts}) {
		got = append(got, f.Found)
	}
	if want := []string{"billing: late", "orders, billing: 1 dead letter", "evicts"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
