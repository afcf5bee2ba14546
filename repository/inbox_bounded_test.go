package repository_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
)

// Tasks beyond the bound wait. Meanwhile they take no connection of the pool, so others
// still get one.
func TestABoundedInboxLeavesConnections(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	const bound, tasks = 2, 40 // more tasks than the pool has connections
	inbox := repository.NewBoundedInbox(db, bound)
	begun, finish := make(chan struct{}, tasks), make(chan struct{})
	var all sync.WaitGroup
	for i := range tasks {
		all.Go(func() {
			first, err := inbox.Process(t.Context(), domain.ID{byte(i + 1)}, func(context.Context, domain.Effects) error {
				begun <- struct{}{}
				<-finish
				return nil
			})
			if !first || err != nil {
				t.Errorf("task %d: %t, %v", i, first, err)
			}
		})
	}
	for range bound {
		<-begun
	}
	// The pool still has a connection for somebody else, at once.
	if n := count(t, db, "SELECT count(*) FROM inbox"); n != 0 {
		t.Errorf("%d events took effect", n)
	}
	if n := db.Pool().Stat().AcquiredConns(); n != bound {
		t.Errorf("the tasks use %d connections, want %d", n, bound)
	}
	// A task that waits gives up when its time is over, and that is an outage.
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	ids := []domain.ID{{200}}
	if _, err := inbox.Ask(ctx, ids[0]); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("Ask: %v", err)
	}
	if _, err := inbox.AskAll(ctx, ids); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("AskAll: %v", err)
	}
	if _, err := inbox.ProcessAll(ctx, ids, nil); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("ProcessAll: %v", err)
	}
	close(finish)
	all.Wait()
	if list, err := inbox.AskAll(t.Context(), ids); err != nil || len(list) != 1 {
		t.Errorf("AskAll afterwards: %v, %v", list, err)
	}
	if n := count(t, db, "SELECT count(*) FROM inbox"); n != tasks {
		t.Errorf("%d events took effect, want %d", n, tasks)
	}
}
