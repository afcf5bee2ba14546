package examine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/repository/upkeep"

	"outboxd/domain"
)

// A leader that is silent is found while it still holds the lock.
func TestExaminerFindsASilentLeader(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := attended(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leading, ended := make(chan struct{}), make(chan struct{})
	keeping := upkeep.NewHousekeeping(db, "")
	go func() {
		defer close(ended)
		_ = keeping.Lead(ctx, func(ctx context.Context, _ domain.StillLeads) error { close(leading); <-ctx.Done(); return nil })
	}()
	<-leading
	if found := examined(t, db, healthy()); codes(found) != "" {
		t.Errorf("of a leader that speaks: %q", codes(found))
	}
	o := healthy()
	o.LeaderSilence = time.Nanosecond
	if found := examined(t, db, o); codes(found) != "leader-silent/warning" || !strings.Contains(text(found, "leader-silent"), "application outboxd") {
		t.Errorf("found %v", found)
	}
	cancel()
	<-ended
}
