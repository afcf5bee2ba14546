package diagnosis_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/diagnosistest"
	"outboxd/domain/overview"
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

// The last slower check of a shared Redis may be a minute old.
func TestRenewedFindingsOfASharedRedis(t *testing.T) {
	t.Parallel()
	of := func(code string) domain.Finding { return domain.Finding{Code: code, Level: domain.FindingWarning} }
	shared := []domain.Finding{of("redis-unreachable"), of("queue-paused"), of("redis-evicts")}
	codes := func(found []domain.Finding) (codes []string) {
		for _, f := range found {
			codes = append(codes, f.Code+f.Found)
		}
		return codes
	}
	if got := codes(diagnosis.Quick{RedisErr: domain.Errorf(domain.CodeUnavailable, "away")}.Renew(shared)); !slices.Equal(got, codes(shared)) {
		t.Errorf("without Redis: %q", got)
	}
	q := diagnosis.Quick{Queues: []overview.QueueStatus{{Name: "mail", PausedAt: time.Now()}, {Name: "theirs", PausedAt: time.Now()}, {Name: "works"}}, Foreign: []string{"theirs"}}
	if got := codes(q.Renew(q.Renew(shared))); !slices.Equal(got, []string{"redis-evicts", "queue-pausedqueue mail is paused"}) {
		t.Errorf("with Redis: %q", got)
	}
}

// A subscription's queue needs no worker if the subscription rests in each database that has it.
func TestSubscriptionsOfOneName(t *testing.T) {
	t.Parallel()
	paused := func(name string) overview.ReceiverStatus {
		return overview.ReceiverStatus{Subscription: name, Paused: true}
	}
	all := []diagnosis.Subscribed{
		{Source: "orders", Names: []string{"audit", "mail", "own"}, Resting: []overview.ReceiverStatus{paused("audit"), paused("mail"), paused("own")}},
		{Source: "billing", Names: []string{"audit", "mail", "stock"}, Resting: []overview.ReceiverStatus{paused("audit"), {Subscription: "gone", Removed: true}}},
	}
	rest := map[string]bool{}
	for _, r := range diagnosis.Resting(all) {
		rest[r.Subscription] = true
	}
	if want := map[string]bool{"audit": true, "own": true, "gone": true}; !maps.Equal(rest, want) {
		t.Errorf("these rest: %v, want %v", rest, want)
	}
	found := diagnosis.SubscriptionsTwice(all)
	diagnosistest.WantCatalogued(t, found)
	if len(found) != 1 || found[0].Found != "2 subscriptions have the same name in several databases: audit (orders, billing), mail (orders, billing)" {
		t.Errorf("found %v", found)
	}
	if found = diagnosis.SubscriptionsTwice(all[:1]); len(found) != 0 {
		t.Errorf("with one database: %v", found)
	}
}
