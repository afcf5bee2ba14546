package confirm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/deadletters"
)

// Tasks beyond the bound wait. Meanwhile they take no connection of the pool, so others
// still get one.
func TestABoundedInboxLeavesConnections(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	const bound, tasks = 2, 40 // more tasks than the pool has connections
	inbox := confirm.NewBoundedInbox(confirm.NewInbox(db), repository.NewBound(bound))
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
	// A task that waits gives up when its time is over. The error counts as an outage.
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

// Handlers that hang keep all places of the tasks. Failures are recorded all the same.
func TestFailuresAreRecordedWhileHandlersHang(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	const places = 2
	bound := repository.NewBound(places)
	inbox, failures := confirm.NewBoundedInbox(confirm.NewInbox(db), bound), confirm.NewBoundedFailures(deadletters.NewFailedTasks(db, false), bound.And(1))
	begun, finish := make(chan struct{}, places), make(chan struct{})
	var all sync.WaitGroup
	for i := range places {
		all.Go(func() {
			_, err := inbox.Process(t.Context(), domain.ID{byte(i + 1)}, func(context.Context, domain.Effects) error {
				begun <- struct{}{}
				<-finish
				return nil
			})
			if err != nil {
				t.Errorf("task %d: %v", i, err)
			}
		})
	}
	for range places {
		<-begun
	}
	for i := range byte(3) {
		failed := domain.FailedTask{Event: domain.Event{ID: domain.ID{1, i + 1}, Type: "e", Payload: []byte("x"), Queue: "default"}, Attempt: 1, Err: errors.New("broken")}
		if burial, err := failures.Bury(t.Context(), failed, false); burial != domain.Buried || err != nil {
			t.Errorf("a task that failed meanwhile: %v, %v", burial, err)
		}
	}
	close(finish)
	all.Wait()
}

// held stops each call of Bury until the channel finish is closed. It sends to the
// channel begun when a call has come.
type held struct {
	domain.FailedTasks
	begun, finish chan struct{}
}

func (h held) Bury(ctx context.Context, task domain.FailedTask, onRecord bool) (domain.Burial, error) {
	h.begun <- struct{}{}
	<-h.finish
	return h.FailedTasks.Bury(ctx, task, onRecord)
}

// A storm of failing tasks uses no more connections than the tasks themselves may: the
// inbox and the record of failures have one bound.
func TestBoundedFailuresShareTheConnectionsOfTheInbox(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	const places, tasks = 2, 40 // more tasks than the pool has connections
	bound := repository.NewBound(places)
	recorded := held{deadletters.NewFailedTasks(db, false), make(chan struct{}, tasks), make(chan struct{})}
	inbox, failures := confirm.NewBoundedInbox(confirm.NewInbox(db), bound), confirm.NewBoundedFailures(recorded, bound)
	failed := func(i int) domain.FailedTask {
		return domain.FailedTask{Event: domain.Event{ID: domain.ID{1, byte(i + 1)}, Type: "e", Payload: []byte("x"), Queue: "default"}, Attempt: 1, Err: errors.New("broken")}
	}
	var all sync.WaitGroup
	for i := range tasks {
		all.Go(func() {
			if burial, err := failures.Bury(t.Context(), failed(i), false); burial != domain.Buried || err != nil {
				t.Errorf("task %d: %v, %v", i, burial, err)
			}
		})
	}
	for range places {
		<-recorded.begun
	}
	// All places are taken, so no other call gets one. Its error counts as an outage.
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	_, asked := inbox.Ask(ctx, domain.ID{200})
	_, unburied := failures.Unburied(ctx, []domain.ID{{200}})
	_, buried := failures.Bury(ctx, failed(200), false)
	for doing, err := range map[string]error{
		"Ask": asked, "Unburied": unburied, "Bury": buried, "Failed": failures.Failed(ctx, failed(200)),
		"Retried": failures.Retried(ctx, nil, &domain.Action{Actor: "ada"}),
	} {
		if domain.ErrorCode(err) != domain.CodeUnavailable || !strings.Contains(err.Error(), "wait for a connection") {
			t.Errorf("%s: %v", doing, err)
		}
	}
	if n := len(recorded.begun); n != 0 {
		t.Errorf("%d more failures are recorded at once than there are places", n)
	}
	close(recorded.finish)
	all.Wait()
	if n := count(t, db, "SELECT count(*) FROM outbox_dead"); n != tasks {
		t.Errorf("%d dead letters, want %d", n, tasks)
	}
	if err := failures.Failed(t.Context(), failed(0)); err != nil {
		t.Errorf("Failed: %v", err)
	}
	if first, err := inbox.Ask(t.Context(), domain.ID{201}); !first || err != nil {
		t.Errorf("Ask: %t, %v", first, err)
	}
}
